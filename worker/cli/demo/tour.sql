-- name: add_media
insert into media_jobs (kind, payload, max_retries, dedupe_key)
values (:kind, :payload, 1, :dedupe_key)
returning id;

-- name: written
select d.channel, d.provider_message_id as file
  from notification_deliveries d
 where d.job_id = any(:ids) and d.provider = 'outbox' and d.status <> 'failed'
 order by d.job_id;

-- name: try_1
SELECT queue, kind, status, count(*) FROM jobs GROUP BY queue, kind, status ORDER BY queue, kind;

-- name: try_2
SELECT name, cron, time_zone, next_tick FROM schedules WHERE name = 'rowmill-demo';
