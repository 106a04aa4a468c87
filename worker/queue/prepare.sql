-- name: apply_settings
-- MAX_RETRIES and BACKOFF_DELAY, if set, are for the queues that this process serves.
update queues
   set max_retries = coalesce(:max_retries, max_retries), backoff_ms = coalesce(:backoff_ms, backoff_ms)
 where name = any(:queues)
   and (max_retries, backoff_ms)
         is distinct from (coalesce(:max_retries, max_retries), coalesce(:backoff_ms, backoff_ms));

-- name: search_path
select current_setting('search_path') as path;
