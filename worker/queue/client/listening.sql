-- The statements of a client's listening session, by which it hears that jobs ended. See migrations/0003_tickets.sql.

-- name: register_listener
-- Valid for a minute. Not fresh: it was renewed in time, so nothing can have been missed.
with before as (
  select until > clock_timestamp() as counted from listeners where id = :id
), registered as (
  insert into listeners (id, until)
  values (:id, clock_timestamp() + interval '1 minute')
      on conflict (id) do update set until = excluded.until
)
select coalesce((select not counted from before), true) as fresh;

-- name: delete_expired_listeners
delete from listeners where until < clock_timestamp();

-- name: delete_listener
delete from listeners where id = :id;

-- name: read_waited
-- The payload only of jobs that have ended: the others may be read many times.
select id, queue, kind, status, priority, attempt, retry_count, max_retries, run_at, created_at,
       started_at, completed_at,
       progress, error_code, error, file_id, dedupe_key, locked_by, archived,
       case when completed_at is not null then payload end as payload, result
  from jobs
 where id = any(:ids);
