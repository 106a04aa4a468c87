-- name: job_row
-- Without payload and result, which may be large. `cause` and `solution` as in the view dead_letters.
select j.id, j.queue, j.kind, j.status, j.priority, j.attempt, j.retry_count, j.max_retries, j.run_at, j.expires_at,
       j.created_at, j.started_at, j.completed_at, j.snoozed_since, j.progress, j.error_code,
       left(j.error, 4000) as error, j.file_id, j.dedupe_key, j.traceparent, j.locked_by, j.archived,
       (select w.host || ' ' || w.pid::text from workers w where w.id = j.locked_by) as worker,
       (select pg_catalog.format('for %s since %s', t.waits_for, t.since)
          from workers w, jsonb_to_recordset(w.waiting) as t (job_id bigint, waits_for text, since timestamptz)
         where w.id = j.locked_by and t.job_id = j.id) as waits
  from jobs j
 where j.id = :id;

-- name: job_attempts
-- The newest: a job that was retried for months has many.
select e.attempt, e.worker, w.host, e.started_at, e.failed_at, e.error_code, left(e.error, 2000) as error, e.stack,
       coalesce(c.cause, others.cause, service.cause) as cause,
       coalesce(c.solution, others.solution, service.solution) as solution
  from job_errors e
  left join workers w on w.id = e.worker
  left join error_codes c on c.code = e.error_code
  left join error_codes others on others.code = split_part(e.error_code, '_', 1) || '_*'
  left join error_codes service on service.code = '*' || substr(e.error_code, strpos(e.error_code, '_'))
 where e.job_id = :id
 order by e.attempt desc
 limit 50;

-- name: job_json
-- Null: it has more than `most` bytes.
select octet_length(payload::text) as payload_bytes, octet_length(result::text) as result_bytes,
       case when octet_length(payload::text) <= :most::integer then payload::text end as payload,
       case when octet_length(result::text) <= :most::integer then result::text end as result
  from jobs
 where id = :id;

-- name: explain_code
select cause, solution
  from error_codes
 where code in (:code::text, split_part(:code::text, '_', 1) || '_*',
                '*' || substr(:code::text, strpos(:code::text, '_')))
 order by code = :code::text desc, code like '*%'
 limit 1;
