-- Receivers of webhooks.

-- name: find_endpoint
-- With the time of the notification, which is the same in each attempt.
select n.created_at, e.id, e.url, e.secret, e.previous_secret, e.disabled_at is not null as disabled, e.disabled_reason
  from notification_deliveries d
  join notifications n on n.id = d.notification_id
  left join webhook_endpoints e on e.id = :endpoint
 where d.id = :delivery;

-- name: note_success
update webhook_endpoints set failing_since = null where id = :id and failing_since is not null;

-- name: note_failure
-- While it goes on failing, the row is written only once, and when it is disabled.
update webhook_endpoints e
   set failing_since = coalesce(e.failing_since, clock_timestamp()),
       disabled_at = case when w.reason is not null then clock_timestamp() end,
       disabled_reason = w.reason
  from (select case when :gone then 'it answered 410'
                    when e.failing_since
                         < clock_timestamp() - pg_catalog.make_interval(secs => :hours::float8 * 3600::float8)
                    then pg_catalog.format('each request has failed for %s hours', :hours::float8) end as reason
          from webhook_endpoints e where e.id = :id) w
 where e.id = :id and e.disabled_at is null and (e.failing_since is null or w.reason is not null)
returning e.disabled_reason;
