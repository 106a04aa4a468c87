-- The ledger of deliveries. Each statement is for many at once: `n` is the place of a delivery in what was given.

-- name: open_new
-- Notifications that nobody has met before, and their deliveries: one statement for nearly all messages.
with wanted as (
  select * from jsonb_to_recordset(:wanted)
    as w (n integer, id text, message_id text, job_id bigint, attempt integer, target_user_id text, channel text,
          template_id text, priority text, metadata jsonb, content_hash text, recipient_hash text, hashes jsonb,
          list text)
), made as (
  insert into notifications (id, message_id, job_id, target_user_id, channel, template_id, priority, metadata,
                             content_hash)
  select distinct on (w.message_id) coalesce(w.id, gen_random_uuid()::text), w.message_id, w.job_id, w.target_user_id,
         w.channel, w.template_id, w.priority, w.metadata, w.content_hash
    from wanted w
   order by w.message_id
      on conflict do nothing
  returning id, message_id
), opened as (
  insert into notification_deliveries (notification_id, channel, recipient_hash, job_id, attempt)
  select distinct m.id, w.channel, w.recipient_hash, w.job_id, w.attempt
    from wanted w
    join made m on m.message_id = w.message_id
  returning id, notification_id, recipient_hash, status
)
select w.n, o.id, o.status,
       (select s.reason from suppressions s
         where s.channel = w.channel and s.list in ('', coalesce(w.list, ''))
           and s.recipient_hash in (select jsonb_array_elements_text(w.hashes))
         order by s.list
         limit 1) as suppressed
  from wanted w
  join made m on m.message_id = w.message_id
  join opened o on o.notification_id = m.id and o.recipient_hash = w.recipient_hash;

-- name: lock_notifications
-- Whoever opens deliveries of one of them waits here for the others.
select n.id, n.message_id, n.content_hash, n.job_id,
       exists (select from notification_deliveries d
                where d.notification_id = n.id
                  and d.status in ('sending', 'sent', 'delivered', 'read', 'bounced')) as begun
  from notifications n
 where n.id = any(:ids) or n.message_id = any(:message_ids)
 order by n.id
   for update;

-- name: add_deliveries
-- A notification to many users has many deliveries. Each is found by its whole key: the hashes come before the join.
with wanted as materialized (
  select w.n, w.notification_id, w.channel, w.recipient_hash, h.hash
    from jsonb_to_recordset(:wanted)
      as w (n integer, notification_id text, channel text, recipient_hash text, hashes jsonb)
   cross join lateral pg_catalog.jsonb_array_elements_text(w.hashes) as h (hash)
), known as materialized (
  select w.n
    from wanted w
    join notification_deliveries d
      on d.notification_id = w.notification_id and d.channel = w.channel and d.recipient_hash = w.hash
)
insert into notification_deliveries (notification_id, channel, recipient_hash)
select distinct w.notification_id, w.channel, w.recipient_hash
  from wanted w
 where not exists (select from known k where k.n = w.n)
    on conflict do nothing;

-- name: take_deliveries
-- As they were before: one that another job is sending is not taken, nor one that has ended, nor one that is ambiguous
-- for another job.
with wanted as materialized (
  select w.*, h.hash
    from jsonb_to_recordset(:wanted)
      as w (n integer, notification_id text, channel text, hashes jsonb, job_id bigint, attempt integer, list text)
   cross join lateral pg_catalog.jsonb_array_elements_text(w.hashes) as h (hash)
), found as (
  select w.n, w.job_id, w.attempt, w.channel, w.hashes, w.list, d.id, d.status, d.provider, d.provider_message_id,
         d.sending_at, d.job_id as of_job,
         d.job_id <> w.job_id and exists (select from jobs j
                                           where j.id = d.job_id and not j.archived
                                             and j.status = 'processing') as held
    from wanted w
    join notification_deliveries d
      on d.notification_id = w.notification_id and d.channel = w.channel and d.recipient_hash = w.hash
), taken as (
  update notification_deliveries d
     set job_id = f.job_id, attempt = f.attempt
    from found f
   where d.id = f.id and not coalesce(f.held, false)
     and (f.status in ('queued', 'sending', 'failed', 'skipped')
          or (f.status = 'ambiguous' and f.of_job = f.job_id))
)
select f.n, f.id, f.status, f.provider, f.provider_message_id, f.sending_at, coalesce(f.held, false) as held,
       f.status = 'ambiguous' and f.of_job is distinct from f.job_id as foreign_ambiguity,
       (select s.reason from suppressions s
         where s.channel = f.channel and s.list in ('', coalesce(f.list, ''))
           and s.recipient_hash in (select jsonb_array_elements_text(f.hashes))
         order by s.list
         limit 1) as suppressed
  from found f;

-- name: take_notifications
-- Those of which a delivery was taken.
update notifications n
   set job_id = w.job_id, content_hash = w.content_hash, status = 'pending'
  from jsonb_to_recordset(:wanted) as w (notification_id text, job_id bigint, attempt integer, content_hash text)
 where n.id = w.notification_id and n.status <> 'sent'
   and exists (select from notification_deliveries d
                where d.notification_id = n.id and d.job_id = w.job_id and d.attempt = w.attempt);

-- name: begin_sending
-- Committed before the provider is asked. Only the execution that holds the delivery may do so, and only from the
-- status that it has seen: one that was declared dead and wakes up sends nothing.
update notification_deliveries d
   set status = 'sending', provider = b.provider, sending_at = clock_timestamp(), updated_at = clock_timestamp()
  from jsonb_to_recordset(:begun)
    as b (id uuid, provider text, status text, job_id bigint, attempt integer)
 where d.id = b.id and d.status = b.status and d.job_id = b.job_id and d.attempt = b.attempt
returning d.id;

-- name: put_back
-- It certainly was not sent.
update notification_deliveries d
   set status = p.status, error_code = p.error_code, updated_at = clock_timestamp()
  from jsonb_to_recordset(:put)
    as p (id uuid, status text, error_code text, job_id bigint, attempt integer)
 where d.id = p.id and d.status = 'sending' and d.job_id = p.job_id and d.attempt = p.attempt;

-- name: settle
-- A provider may have reported before this what became of the message.
with settled as (
  update notification_deliveries d
     set status = case when s.status = 'sent' and d.status in ('failed', 'delivered', 'read', 'bounced')
                       then d.status else s.status end,
         provider = coalesce(s.provider, d.provider),
         provider_message_id = coalesce(s.provider_message_id, d.provider_message_id),
         error_code = case when s.status = 'sent' and d.status in ('failed', 'delivered', 'read', 'bounced')
                           then d.error_code else s.error_code end,
         sent_at = case when s.status = 'sent' then clock_timestamp() else d.sent_at end,
         updated_at = clock_timestamp()
    from jsonb_to_recordset(:settled)
      as s (id uuid, status text, provider text, provider_message_id text, error_code text)
   where d.id = s.id
  returning d.notification_id, d.status
)
update notifications n
   set status = t.status, sent_at = case when t.status = 'sent' then clock_timestamp() else n.sent_at end
  from (select notification_id,
               case when bool_or(status not in ('skipped', 'failed', 'bounced')) then 'sent'
                    when bool_or(status in ('failed', 'bounced')) then 'failed' else 'skipped' end as status
          from settled group by notification_id) t
 where n.id = t.notification_id and n.status <> 'sent';

-- name: note_receipt
-- The message was sent, but its job is no longer this attempt's: so that it is not sent again.
update notification_deliveries d
   set status = 'sent', provider = r.provider, provider_message_id = r.provider_message_id,
       sent_at = clock_timestamp(), updated_at = clock_timestamp()
  from jsonb_to_recordset(:receipts) as r (id uuid, provider text, provider_message_id text)
 where d.id = r.id and d.status in ('sending', 'ambiguous');

-- name: suppress_recipient
insert into suppressions (channel, recipient_hash, reason)
select channel, recipient_hash, :reason from notification_deliveries where id = :id
    on conflict do nothing;

-- name: stored_notification
select message_id, target_user_id, template_id, payload, priority, metadata from notifications where id = :id;

-- name: pause_tokens
select pause_tokens(:key, :rate, :pause_ms);
