-- name: record_reports
-- Each event counts once: all that follows is for those that were not known. A status only moves up the ladder, so that
-- the order in which reports come makes no difference.
with ladder as (
  select array['queued', 'skipped', 'sending', 'ambiguous', 'sent', 'failed', 'delivered', 'read', 'bounced'] as steps
), given as (
  select distinct on (r.event_id) r.*
    from jsonb_to_recordset(:reports)
      as r (event_id text, event text, detail jsonb, delivery_id uuid, provider_message_id text,
            occurred_at timestamptz, status text, error_code text, channel text, hashes jsonb, list text,
            suppress text, restore boolean)
   order by r.event_id
), found as (
  select g.*, coalesce((select d.id from notification_deliveries d where d.id = g.delivery_id),
                       (select d.id from notification_deliveries d
                         where d.provider = :provider and d.provider_message_id = g.provider_message_id
                         order by d.created_at desc
                         limit 1)) as known_id
    from given g
), noted as (
  insert into notification_events (provider, provider_event_id, delivery_id, event, detail, occurred_at)
  select :provider, event_id, known_id, event, detail, occurred_at from found order by event_id
      on conflict do nothing
  returning provider_event_id
), fresh as (
  select f.* from found f join noted n on n.provider_event_id = f.event_id
), highest as (
  select distinct on (f.known_id) f.known_id, f.status, f.error_code, f.provider_message_id, f.occurred_at
    from fresh f, ladder l
   where f.status is not null and f.known_id is not null
   order by f.known_id, pg_catalog.array_position(l.steps, f.status) desc
), moved as (
  update notification_deliveries d
     set status = h.status, error_code = h.error_code, updated_at = clock_timestamp(),
         provider_message_id = coalesce(d.provider_message_id, h.provider_message_id),
         sent_at = coalesce(d.sent_at, h.occurred_at, clock_timestamp())
    from highest h, ladder l
   where d.id = h.known_id and d.provider = :provider
     and pg_catalog.array_position(l.steps, h.status) > pg_catalog.array_position(l.steps, d.status)
  returning d.id, d.notification_id, d.job_id, d.status
), resolved as (
  -- A job that did not know whether it had sent knows now: it runs once more, sends nothing, and is completed. Not
  -- while another of its deliveries is ambiguous, because a retry would send that one.
  update jobs j
     set status = 'pending', retry_count = 0, run_at = now()
    from moved m
   where j.id = m.job_id and j.queue = 'notification' and j.archived = false
     and j.status = 'failed' and j.error_code = 'unknown_outcome' and m.status in ('sent', 'delivered', 'read')
     and not exists (select from notification_deliveries d
                      where d.job_id = m.job_id and d.status = 'ambiguous' and d.id not in (select id from moved))
), suppressed as (
  insert into suppressions (channel, recipient_hash, list, reason)
  select distinct on (channel, hashes ->> 0, list) channel, hashes ->> 0, list, suppress
    from fresh where suppress is not null
   order by channel, hashes ->> 0, list
      on conflict do nothing
), restored as (
  delete from suppressions s
   using fresh f
   where f.restore and s.channel = f.channel and s.reason = 'opted out'
     and s.recipient_hash in (select jsonb_array_elements_text(f.hashes))
), told as (
  select m.notification_id,
         case when bool_or(m.status in ('sent', 'delivered', 'read')) or bool_or(o.good) then 'sent'
              when bool_or(o.open) then null else 'failed' end as status
    from moved m
    left join lateral (
      select bool_or(d.status in ('sent', 'delivered', 'read')) as good,
             bool_or(d.status in ('queued', 'sending', 'ambiguous')) as open
        from notification_deliveries d
       where d.notification_id = m.notification_id and d.id not in (select id from moved)
    ) o on true
   group by m.notification_id
), followed as (
  update notifications n
     set status = t.status, sent_at = case when t.status = 'sent' then coalesce(n.sent_at, clock_timestamp())
                                           else n.sent_at end
    from told t
   where n.id = t.notification_id and t.status is not null and n.status <> t.status
)
select (select count(*) from noted) as events, (select count(*) from moved) as moved;

-- name: unsubscribe
insert into suppressions (channel, recipient_hash, list, reason)
values (:channel, :recipient_hash, :list, :reason)
    on conflict do nothing;
