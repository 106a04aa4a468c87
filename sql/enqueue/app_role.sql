-- A role that may add jobs to some queues and do nothing else: it reads no job, not even its own, changes none, and has no right
-- on tickets and on functions, for the triggers have it. Run once, as the owner of the tables; edit the role's name and the queues.
create role shop login;                     -- then in psql: \password shop
-- grant usage on schema app to shop;       -- only where the tables lie in a schema other than public

-- Postgres 14 lets every role make objects in public, where others may call them by mistake. Later versions do not:
-- revoke create on schema public from public;

-- Only what a producer decides. The rest, such as status and attempt, is the worker's.
grant usage on sequence job_ids to shop;
grant insert (queue, kind, payload, file_id, priority, run_at, expires_at, max_retries, dedupe_key) on jobs to shop;
grant insert (kind, payload, file_id, priority, run_at, expires_at, max_retries, dedupe_key) on publish_jobs to shop;

-- Row level security is on with no policy: without one, nobody but the owner gets in. A policy counts for the table that the
-- statement names, so each table that shop inserts into has its own.
create policy shop_adds on jobs for insert to shop with check (queue in ('media', 'notification'));
create policy shop_adds on publish_jobs for insert to shop with check (true);

-- `returning id` would need the right to read. The id of the job just added: select currval('job_ids').
