-- The statements of deliveries.ts. No address is in these tables; a recipient is the beginning of a hash.

-- name: latest_deliveries
-- Of the last 10,000 changes: with no index on status, a rare one would be searched for in all of them.
select d.id, n.message_id, n.template_id, d.channel, d.status, substr(d.recipient_hash, 1, 10) as recipient,
       d.provider, d.provider_message_id, d.error_code, d.job_id, d.created_at, d.sent_at, d.updated_at
  from (select * from notification_deliveries order by updated_at desc limit 10000) d
  join notifications n on n.id = d.notification_id
 where (:status::text is null or d.status = :status) and (:channel::text is null or d.channel = :channel)
 order by d.updated_at desc
 limit :limit;

-- name: ambiguous_deliveries
-- Has an index of its own.
select d.id, n.message_id, n.template_id, d.channel, d.status, substr(d.recipient_hash, 1, 10) as recipient,
       d.provider, d.provider_message_id, d.error_code, d.job_id, d.created_at, d.sent_at, d.updated_at
  from notification_deliveries d
  join notifications n on n.id = d.notification_id
 where d.status = 'ambiguous'
 order by d.updated_at desc
 limit :limit;

-- name: deliveries_of
select d.id, n.message_id, n.template_id, d.channel, d.status, substr(d.recipient_hash, 1, 10) as recipient,
       d.provider, d.provider_message_id, d.error_code, d.job_id, d.created_at, d.sent_at, d.updated_at
  from notifications n
  join notification_deliveries d on d.notification_id = n.id
 where n.message_id = :message_id
 order by d.channel, d.updated_at desc
 limit :limit;

-- name: events_of
select e.delivery_id, e.provider, e.event, e.detail, coalesce(e.occurred_at, e.received_at) as at
  from notification_events e
 where e.delivery_id = any(:ids::uuid[])
 order by at, e.provider_event_id
 limit 1000;

-- name: delivery_counts
select channel, status, count(*) as deliveries
  from (select channel, status from notification_deliveries
         where updated_at > clock_timestamp() - interval '1 day'
         order by updated_at desc
         limit 100000) d
 group by channel, status
 order by channel, status;
