-- How many messages are sent per minute? By channel and provider, over the last minute, ten minutes and hour.
-- `confirmed` are those of the last hour that the provider reported as delivered or read. A provider that has sent
-- nothing for an hour has no row. The condition on updated_at is there for the index.
select channel, provider,
       count(*) filter (where sent_at > now() - interval '1 minute')                    as last_minute,
       round(count(*) filter (where sent_at > now() - interval '10 minutes') / 10.0, 1) as last_10_minutes,
       round(count(*) / 60.0, 1)                                                        as last_hour,
       count(*) filter (where status in ('delivered', 'read'))                          as confirmed
  from notification_deliveries
 where sent_at > now() - interval '1 hour' and updated_at > now() - interval '1 hour'
 group by channel, provider
 order by channel, provider;
