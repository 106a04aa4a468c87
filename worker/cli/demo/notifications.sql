-- name: add_devices
insert into push_tokens (token_hash, user_id, token, platform)
select pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(token, 'UTF8')), 'hex'), user_id, token, platform
  from (values ('demo-ada',   'token-of-adas-phone',      'ios'),
               ('demo-grace', 'token-of-graces-phone',    'android'),
               ('demo-grace', 'token-of-graces-browser',  'web')) as d (user_id, token, platform)
    on conflict (token_hash) do update set last_seen_at = excluded.last_seen_at, invalid_at = null;

-- name: set_endpoint
insert into webhook_endpoints (id, url) values ('demo', :url)
    on conflict (id) do update
   set url = excluded.url, failing_since = null, disabled_at = null, disabled_reason = null;

-- name: add_job
insert into notification_jobs (kind, payload, max_retries, dedupe_key)
values (:kind, :payload, 1, :dedupe_key)
returning id;

-- name: repair
UPDATE notification_jobs
   SET payload = jsonb_set(payload, '{templateData,title}', '"A day in Rome"'), status = 'pending'
 WHERE id = :id;

-- name: try_1
SELECT channel, provider, status, count(*) FROM notification_deliveries
 GROUP BY channel, provider, status ORDER BY channel, status;

-- name: try_2
SELECT message_id, channel, status, sent_at FROM notifications ORDER BY created_at DESC LIMIT 3;

-- name: try_3
SELECT id, kind, result FROM notification_jobs WHERE kind = 'batch' ORDER BY id DESC LIMIT 1;
