-- Moves the waiting jobs of pg-boss (12) into Rowmill: which of its queues becomes which kind stands in the list, and
-- queues that are not in it stay. In one transaction: a job is in exactly one of the two. Its workers may run
-- meanwhile: what they have started stays theirs. Run it again until it moves nothing.
--   psql "$DATABASE_URL" --file pg_boss.sql
-- The dedupe_key is pgboss:<id>. At pg-boss a higher priority starts first, here a lower one.
with kinds (name, queue, kind) as (values
  ('send-email',   'notification', 'email'),
  ('resize-image', 'media',        'image')
), waiting as (
  select j.name, j.id, k.queue, k.kind
    from pgboss.job j
    join kinds k on k.name = j.name
   where j.state in ('created', 'retry')
   order by j.created_on
   limit 10000
     for update of j skip locked
), taken as (
  delete from pgboss.job j using waiting w where j.name = w.name and j.id = w.id
  returning w.queue, w.kind, j.id, j.data, j.priority, j.start_after, j.retry_limit, j.created_on
)
insert into jobs (queue, kind, payload, priority, run_at, max_retries, dedupe_key, created_at)
select queue, kind, coalesce(data, '{}'), greatest(least(-priority, 32767), -32768), start_after, retry_limit,
       'pgboss:' || id, created_on
  from taken
returning queue, kind, id, dedupe_key;
