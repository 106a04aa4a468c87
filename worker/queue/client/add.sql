-- name: reserve_ids
-- For jobs whose payload is sealed for their row before it is inserted.
select nextval('job_ids'::regclass) as id from pg_catalog.generate_series(1, :jobs::integer);

-- name: add_jobs
-- One insert, whose triggers make the tickets. A job that is not in the answer was skipped, because its dedupe key is
-- taken: by an earlier job, or by one of these, of which the first gets it. With :all_new such a job is a division by
-- zero: the statement fails, and none is inserted. A null max_retries is filled in from the queue's row.
with given as materialized (
  select coalesce(f.reserved, nextval('job_ids'::regclass)) as id, f.*
    from jsonb_to_recordset(:jobs::jsonb)
      as f (n integer, reserved bigint, queue text, kind text, payload jsonb, file_id text, run_at timestamptz,
            delay_ms float8, expires_at timestamptz, priority smallint, max_retries integer, dedupe_key text,
            traceparent text)
), added as (
  insert into jobs (id, queue, kind, payload, file_id, run_at, expires_at, priority, max_retries, dedupe_key,
                    traceparent)
  select id, queue, kind, payload, file_id,
         coalesce(run_at, now() + pg_catalog.make_interval(secs => coalesce(delay_ms, 0) / 1000::float8)),
         expires_at, coalesce(priority, 0), max_retries, dedupe_key, traceparent
    from given
   order by n
  returning id
)
select g.n, g.id
  from given g
  left join added a on a.id = g.id
 where case when :all_new::boolean then 1 / (a.id is not null)::integer = 1 else a.id is not null end;

-- name: jobs_of_keys
select f.n, k.job_id as id
  from jsonb_to_recordset(:jobs::jsonb) as f (n integer, queue text, dedupe_key text)
  join job_keys k on k.queue = f.queue and k.dedupe_key = f.dedupe_key;
