-- The engine's writes to the rows of jobs. :"live" is the queue's live leaf, filled in once at the start: naming it
-- keeps the statement triggers off the hot path. Every statement that ends an attempt is fenced: it changes a row only
-- while that row is still `processing`, run by this worker, in this attempt.
--
-- A list of jobs has a `limit`, which is its own length: then Postgres plans for ten jobs, and finds each by its id.
-- For the hundred that it expects of a JSON array, it would read the whole leaf while that has only some thousand rows.

-- name: start_jobs
-- Of the ids on a ticket, only rows that are still pending and due are ours; the ticket was wrong about the others. A
-- row whose expires_at has passed ends here: it is cancelled, not started. A payload whose stored size is large is not
-- returned: its own attempt loads it, so that one that cannot be loaded fails alone. The session has graphile-worker's
-- search_path; the user's triggers run with the worker's.
update :"schema".:"live"
   set status       = case when expires_at <= now() then 'cancelled' else 'processing' end,
       attempt      = case when expires_at <= now() then attempt else attempt + 1 end,
       started_at   = case when expires_at <= now() then started_at else clock_timestamp() end,
       locked_by    = case when expires_at <= now() then null else :worker::uuid end,
       completed_at = case when expires_at <= now() then clock_timestamp() end,
       error_code   = case when expires_at <= now() then 'expired' else error_code end,
       error        = case when expires_at <= now() then 'The job did not start before its expires_at' else error end,
       progress     = null
 where id = any(:ids) and status = 'pending' and run_at <= clock_timestamp()
   and (select set_config('search_path', :path, true)) is not null
returning id, queue, kind, case when pg_catalog.pg_column_size(payload) <= 64000 then payload end as payload,
          pg_catalog.pg_column_size(payload) > 64000 as large, file_id, attempt, retry_count, max_retries,
          traceparent,
          1000::float8 * (pg_catalog.date_part('epoch', started_at)
                          - pg_catalog.date_part('epoch', greatest(run_at, created_at))) as waited_ms,
          case when status = 'cancelled'
               then :"schema".announce(array[queue], array[id], array[status]) is not null end as expired;

-- name: start_unlocked_jobs
-- The same after start_jobs failed. A locked row is skipped: the change that is being made to it gives it a new ticket,
-- or the reconciler does. Without :payloads each attempt loads its own, because Postgres could not return one of them.
update :"live"
   set status       = case when expires_at <= now() then 'cancelled' else 'processing' end,
       attempt      = case when expires_at <= now() then attempt else attempt + 1 end,
       started_at   = case when expires_at <= now() then started_at else clock_timestamp() end,
       locked_by    = case when expires_at <= now() then null else :worker::uuid end,
       completed_at = case when expires_at <= now() then clock_timestamp() end,
       error_code   = case when expires_at <= now() then 'expired' else error_code end,
       error        = case when expires_at <= now() then 'The job did not start before its expires_at' else error end,
       progress     = null
 where id in (select id from :"live"
               where id = any(:ids) and status = 'pending' and run_at <= clock_timestamp()
                 for update skip locked)
returning id, queue, kind,
          case when :payloads and pg_catalog.pg_column_size(payload) <= 64000 then payload end as payload,
          not :payloads or pg_catalog.pg_column_size(payload) > 64000 as large,
          file_id, attempt, retry_count, max_retries,
          traceparent,
          1000::float8 * (pg_catalog.date_part('epoch', started_at)
                          - pg_catalog.date_part('epoch', greatest(run_at, created_at))) as waited_ms,
          case when status = 'cancelled'
               then announce(array[queue], array[id], array[status]) is not null end as expired;

-- name: load_payload
-- queues.max_payload_bytes allows at most 64 MB; a text above 512 MB would end the process that reads it. With
-- `offset 0` it is printed once.
select bytes, case when bytes <= 64000000 then payload end as payload
  from (select octet_length(payload::text) as bytes, payload
          from :"live"
         where id = :id and attempt = :attempt and status = 'processing'
        offset 0) printed;

-- name: refuse_job
-- A job that no worker can start becomes a dead letter, so that it is not tried for ever.
with refused as (
  update :"live"
     set status = 'failed', completed_at = clock_timestamp(), retry_count = greatest(retry_count, max_retries),
         error_code = 'cannot_start', error = :error, locked_by = null
   where id = :id and status = 'pending'
  returning id, queue, attempt, status, error_code, error
), logged as (
  insert into job_errors (queue, job_id, attempt, error_code, error)
  select queue, id, attempt, error_code, error from refused
      on conflict (job_id, attempt) do nothing
)
select id, announce(array[queue], array[id], array[status]) as announced from refused;

-- name: started_jobs
-- The jobs that start_jobs had started, after its answer was lost.
select id, queue, kind, case when pg_catalog.pg_column_size(payload) <= 64000 then payload end as payload,
       pg_catalog.pg_column_size(payload) > 64000 as large, file_id, attempt, retry_count, max_retries,
       traceparent,
       1000::float8 * (pg_catalog.date_part('epoch', started_at)
                       - pg_catalog.date_part('epoch', greatest(run_at, created_at))) as waited_ms,
       null::boolean as expired
  from :"live"
 where id = any(:ids) and status = 'processing' and locked_by = :worker;

-- name: hold_job
select id from :"live"
 where id = :id and attempt = :attempt and status = 'processing' and locked_by = :worker
   for update;

-- name: hold_jobs
-- The same for a batch: rows are locked one after another, in the order of their ids.
select j.id
  from :"live" j
  join rows from (pg_catalog.unnest(:ids::bigint[]), pg_catalog.unnest(:attempts::integer[])) as f (id, attempt)
    on f.id = j.id and f.attempt = j.attempt
 where j.status = 'processing' and j.locked_by = :worker
 order by j.id
   for update of j;

-- name: complete_jobs
-- Returns the ids of the completed jobs only if not all were completed.
with completed as (
  update :"live" j
     set status = 'completed', completed_at = clock_timestamp(), locked_by = null,
         result = nullif(f.result, 'null'), progress = 100
    from (select *
            from rows from (pg_catalog.unnest(:ids::bigint[]), pg_catalog.unnest(:attempts::integer[]),
                            jsonb_array_elements(:results)) as f (id, attempt, result)
           limit pg_catalog.cardinality(:ids::bigint[])) f
   where j.id = f.id and j.attempt = f.attempt and j.status = 'processing' and j.locked_by = :worker
  returning j.id
)
select case when count(*) < pg_catalog.cardinality(:ids::bigint[])
            then coalesce(pg_catalog.array_agg(id::float8), '{}') end as some,
       case when count(*) > 0 and exists (select from listeners)
            then announce(pg_catalog.array_fill(:queue::text, array[count(*)::integer]), pg_catalog.array_agg(id),
                          pg_catalog.array_fill('completed'::text, array[count(*)::integer])) end as announced
  from completed;

-- name: complete_job
-- The same for one job, inside its handler's own transaction.
update :"live"
   set status = 'completed', completed_at = clock_timestamp(), locked_by = null, result = :result, progress = 100
 where id = :id and attempt = :attempt and status = 'processing' and locked_by = :worker
returning id, announce(array[queue], array[id], array[status]) as announced;

-- name: completed_by
-- Whether this attempt completed the job, live or archived.
select id from jobs where id = :id and queue = :queue and attempt = :attempt and status = 'completed';

-- name: fail_jobs
-- Retry or dead letter: the row decides now, so that a change of max_retries takes effect at once. A permanent error
-- uses up the retries, so that status = 'failed' and retry_count >= max_retries is true of every dead letter. A job
-- that lost its worker is due again at once. If it loses its worker again, it may be what kills workers: then it waits
-- about the backoff from its start on, some jobs longer and some shorter, so that it does not meet the same neighbours
-- again.
with failures as (
  select f.*, clock_timestamp() as failed_at
    from jsonb_to_recordset(:failures)
           as f (id bigint, attempt integer, error_code text, error text, stack text, permanent boolean)
   limit pg_catalog.jsonb_array_length(:failures)
), failed as (
  update :"live" j
     set (status, run_at, retry_count, completed_at) = (
           select case when again then 'pending' else 'failed' end,
                  case when not again then j.run_at
                       when f.error_code <> 'worker_lost'
                         then f.failed_at + retry_delay(q.backoff_ms, j.retry_count, q.backoff)
                       when j.error_code = 'worker_lost'
                         then greatest(f.failed_at, j.started_at + retry_delay(q.backoff_ms, 0, q.backoff)
                                                                   * (0.5::float8 + random()))
                       else f.failed_at end,
                  case when again then j.retry_count + 1 else greatest(j.retry_count, j.max_retries) end,
                  case when again then null else f.failed_at end
             from (select not f.permanent and j.retry_count < j.max_retries as again) judged),
         error_code = f.error_code, error = f.error, locked_by = null, progress = null, snoozed_since = null
    from failures f, queues q
   where j.id = f.id and j.attempt = f.attempt and j.status = 'processing'
     and j.locked_by is not distinct from :worker and q.name = j.queue
  returning j.id, j.queue, j.kind, j.priority, j.run_at, j.status, j.retry_count, j.attempt, j.started_at,
            f.failed_at, j.error_code, j.error, f.stack
), logged as (
  insert into job_errors (queue, job_id, attempt, worker, started_at, failed_at, error_code, error, stack)
  select queue, id, attempt, :worker, started_at, failed_at, error_code, error, stack from failed
      on conflict (job_id, attempt) do update  -- attempt was set back by hand
     set worker = excluded.worker, started_at = excluded.started_at, failed_at = excluded.failed_at,
         error_code = excluded.error_code, error = excluded.error, stack = excluded.stack
)
select id, kind, status, retry_count,
       (select add_tickets(pg_catalog.array_agg(queue), pg_catalog.array_agg(kind), pg_catalog.array_agg(id),
                           pg_catalog.array_agg(priority), pg_catalog.array_agg(run_at))
          from failed where status = 'pending') as ticketed,
       (select announce(pg_catalog.array_agg(queue), pg_catalog.array_agg(id), pg_catalog.array_agg(status))
          from failed where status = 'failed' having count(*) > 0) as announced
  from failed;

-- name: snooze_jobs
-- Back to pending, without using a retry. A snooze that a handler asks for is bounded: each waits at least a second,
-- and at least a tenth of the time that the job has been snoozing already. A job that has only snoozed for
-- queues.snooze_limit is left processing, and returned as too_long. A job whose worker shuts down, or that waits for
-- one of our rate limits, waits as long as it is told, and is never too long.
with asked as (
  select f.id, f.attempt, f.bounded, clock_timestamp() as asked_at,
         coalesce(f.bounded and clock_timestamp() - j.snoozed_since > q.snooze_limit, false) as too_long,
         case when f.bounded
              then greatest(f.delay_ms / 1000::float8, 1,
                            extract(epoch from clock_timestamp() - j.snoozed_since)::float8 / 10::float8)
              else f.delay_ms / 1000::float8 end as delay_s
    from (select * from jsonb_to_recordset(:jobs) as f (id bigint, attempt integer, delay_ms float8, bounded boolean)
           limit pg_catalog.jsonb_array_length(:jobs)) f
    join :"live" j on j.id = f.id
    join queues q on q.name = j.queue
   where j.attempt = f.attempt and j.status = 'processing' and j.locked_by = :worker
), snoozed as (
  update :"live" j
     set status = 'pending', run_at = clock_timestamp() + pg_catalog.make_interval(secs => f.delay_s),
         locked_by = null, progress = null,
         snoozed_since = case when f.bounded then coalesce(j.snoozed_since, f.asked_at) else j.snoozed_since end
    from asked f
   where j.id = f.id and not f.too_long and j.attempt = f.attempt and j.status = 'processing'
     and j.locked_by = :worker
  returning j.id, j.queue, j.kind, j.priority, j.run_at
)
select id, false as too_long,
       (select add_tickets(pg_catalog.array_agg(queue), pg_catalog.array_agg(kind), pg_catalog.array_agg(id),
                           pg_catalog.array_agg(priority), pg_catalog.array_agg(run_at)) from snoozed) as ticketed
  from snoozed
 union all
select id, true, null from asked where too_long;

-- name: report_progress
update :"live" j
   set progress = f.progress
  from (select * from jsonb_to_recordset(:jobs) as f (id bigint, attempt integer, progress smallint)
         limit pg_catalog.jsonb_array_length(:jobs)) f
 where j.id = f.id and j.attempt = f.attempt and j.status = 'processing' and j.locked_by = :worker;

-- name: put_off_jobs
-- Back to pending because of an incident, without using a retry. The job gets a ticket only if a worker of another host
-- may run it; this host leaves it alone for a while.
with held as (
  update :"live" j
     set status = 'pending', error_code = f.error_code, error = f.error, locked_by = null, progress = null,
         snoozed_since = null
    from (select * from jsonb_to_recordset(:jobs) as f (id bigint, attempt integer, error_code text, error text)
           limit pg_catalog.jsonb_array_length(:jobs)) f
   where j.id = f.id and j.attempt = f.attempt and j.status = 'processing' and j.locked_by = :worker
  returning j.id, j.queue, j.kind, j.priority, j.run_at
), elsewhere as (
  select j.* from held j
   where not exists (select from held_kinds h where h.queue = j.queue and h.kind = j.kind and h.everywhere)
)
select id,
       (select add_tickets(pg_catalog.array_agg(queue), pg_catalog.array_agg(kind), pg_catalog.array_agg(id),
                           pg_catalog.array_agg(priority),
                           pg_catalog.array_agg(greatest(run_at, now() + interval '5 seconds')))
          from elsewhere having count(*) > 0) as ticketed
  from held;

-- name: seal_jobs
-- A value that was changed since the job started stays as it is.
update :"live" j
   set payload = put_values(j.payload, f.changes)
  from (select * from jsonb_to_recordset(:jobs) as f (id bigint, attempt integer, changes jsonb)
         limit pg_catalog.jsonb_array_length(:jobs)) f
 where j.id = f.id and j.attempt = f.attempt and j.status = 'processing' and j.locked_by = :worker
returning j.id;

-- name: give_back
-- Jobs whose ticket was claimed, but which were not started: they are still pending, and need a ticket for another
-- worker. Jobs of a kind that an incident holds need none until it ends; if it holds them only on this host, they are
-- left to other hosts for a while.
select add_tickets(pg_catalog.array_agg(j.queue), pg_catalog.array_agg(j.kind), pg_catalog.array_agg(j.id),
                   pg_catalog.array_agg(j.priority),
                   pg_catalog.array_agg(
                     case when exists (select from held_kinds h
                                        where h.queue = j.queue and h.kind = j.kind and h.host = :host)
                          then greatest(j.run_at, now() + interval '5 seconds') else j.run_at end))
  from :"live" j
 where j.id = any(:ids) and j.status = 'pending'
   and not exists (select from held_kinds h where h.queue = j.queue and h.kind = j.kind and h.everywhere);

-- name: recorded_attempts
-- The attempts that this worker has been running for a while, according to their rows. For those that the worker does
-- not know of, the answer to a start or to an outcome was lost. Only this statement reads the whole leaf, four times a
-- minute.
select id, attempt from :"live"
 where status = 'processing' and locked_by = :worker
   and coalesce(started_at, created_at) < clock_timestamp() - interval '10 seconds';

-- name: taken_jobs
-- Which jobs that this worker runs are no longer its own: cancelled, or set back to pending by hand.
select r.id, r.attempt
  from jsonb_to_recordset(:jobs) as r (id bigint, attempt integer)
  left join :"live" j on j.id = r.id
 where j.id is null or j.attempt <> r.attempt or j.status <> 'processing' or j.locked_by is distinct from :worker;
