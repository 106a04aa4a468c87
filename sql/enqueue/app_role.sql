-- A role that may only add jobs to some queues. It can read no job, not even its own, and change none. It has no rights
-- on tickets and functions, because the triggers run with the owner's rights. Run this once, as the owner of the
-- tables; edit the role's name and the queues.
create role shop login;                     -- then in psql: \password shop
-- grant usage on schema app to shop;       -- only where the tables lie in a schema other than public

-- On Postgres 14 every role may create objects in public, which others may call by mistake. Later versions forbid it:
-- revoke create on schema public from public;

-- Only the columns that a producer decides. The others, such as status and attempt, belong to the worker.
grant usage on sequence job_ids to shop;
grant insert (queue, kind, payload, file_id, priority, run_at, expires_at, max_retries, dedupe_key, traceparent)
  on jobs to shop;
grant insert (kind, payload, file_id, priority, run_at, expires_at, max_retries, dedupe_key, traceparent)
  on publish_jobs to shop;

-- Row level security is on, without policies, so only the owner has access. A policy applies to the table that the
-- statement names, so each table that shop inserts into needs its own.
create policy shop_adds on jobs for insert to shop with check (queue in ('media', 'notification'));
create policy shop_adds on publish_jobs for insert to shop with check (true);

-- `returning id` would need the right to read. The id of the job just added is: select currval('job_ids').
