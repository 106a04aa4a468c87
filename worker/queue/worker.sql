-- name: read_queues
select name, paused, timeout_ms, rate_limit from queues order by name;

-- name: apply_settings
-- MAX_RETRIES and BACKOFF_DELAY, where set, hold for the queues this process serves.
update queues
   set max_retries = coalesce(:max_retries, max_retries), backoff_ms = coalesce(:backoff_ms, backoff_ms)
 where name = any(:queues)
   and (max_retries, backoff_ms) is distinct from (coalesce(:max_retries, max_retries), coalesce(:backoff_ms, backoff_ms));

-- name: more_urgent
-- Whether a ticket waits that is more urgent than this priority. graphile-worker's public view cannot use its index.
select exists (select from graphile_worker._private_jobs t
                where t.is_available and t.priority < :priority and t.run_at <= now()
                  and t.task_id = (select id from graphile_worker._private_tasks where identifier = :queue)) as found;
