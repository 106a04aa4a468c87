-- Moves the messages of a queue of pgmq (Supabase Queues) into Rowmill. In one transaction: a message is in exactly one
-- of the two. Messages that a consumer has read stay until they are visible again. Run it again until it moves nothing.
--   psql "$DATABASE_URL" --file pgmq.sql
-- Edit the name of the queue, here emails, in both places, and the kind. The dedupe_key is pgmq:<queue>:<msg_id>.
with waiting as (
  select msg_id
    from pgmq.q_emails
   where vt <= now()
   order by msg_id
   limit 10000
     for update skip locked
), taken as (
  delete from pgmq.q_emails q using waiting w where q.msg_id = w.msg_id
  returning q.msg_id, q.message, q.enqueued_at
)
insert into jobs (queue, kind, payload, dedupe_key, created_at)
select 'notification', 'email', coalesce(message, '{}'), 'pgmq:emails:' || msg_id, enqueued_at
  from taken
returning queue, kind, id, dedupe_key;
