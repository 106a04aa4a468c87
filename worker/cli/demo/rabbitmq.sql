-- name: last_job
select coalesce(max(id), 0) as id from jobs where queue = 'notification';

-- name: new_jobs
select id, kind, status from jobs where queue = 'notification' and id > :after order by id;

-- name: unacked
select from bridge_unacked;

-- name: rejected
select id, key, reason, error from rejected_messages where source = :source order by id;

-- name: correct
UPDATE rejected_messages
   SET body = '{"type": "email", "email": "ada@example.com", "title": "Your receipt"}'::bytea
 WHERE id = :id;

-- name: try_1
SELECT kind, status, priority, error_code, dedupe_key FROM notification_jobs ORDER BY id DESC LIMIT 7;
