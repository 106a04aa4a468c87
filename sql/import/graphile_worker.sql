-- Moves the waiting jobs of graphile-worker (0.16 to 0.18) into Rowmill: which task becomes which kind stands in the
-- list, and tasks that are not in it stay. In one transaction: a job is in exactly one of the two queues. Its workers
-- may run meanwhile: what they have started stays theirs. Run it again until it moves nothing.
--   psql "$DATABASE_URL" --file graphile_worker.sql
-- The job_key becomes the dedupe_key, without one it is graphile:<id>. A job is not moved if Rowmill has its key.
with kinds (task, queue, kind) as (values
  ('send_email',   'notification', 'email'),
  ('resize_image', 'media',        'image')
), waiting as (
  select j.id, k.queue, k.kind, coalesce(j.key, 'graphile:' || j.id) as dedupe_key
    from graphile_worker._private_jobs j
    join graphile_worker._private_tasks t on t.id = j.task_id
    join kinds k on k.task = t.identifier
   where j.locked_at is null
     and j.attempts < j.max_attempts
     and not exists (select from jobs o
                      where o.queue = k.queue and o.dedupe_key = coalesce(j.key, 'graphile:' || j.id))
   order by j.id
   limit 10000
     for update of j skip locked
), taken as (
  delete from graphile_worker._private_jobs j using waiting w where j.id = w.id
  returning w.queue, w.kind, w.dedupe_key, j.payload, j.priority, j.run_at, j.max_attempts, j.created_at
)
insert into jobs (queue, kind, payload, priority, run_at, max_retries, dedupe_key, created_at)
select queue, kind, payload::jsonb, priority, run_at, max_attempts - 1, dedupe_key, created_at
  from taken
returning queue, kind, id, dedupe_key;
