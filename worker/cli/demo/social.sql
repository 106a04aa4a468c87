-- name: add_posts
-- A trigger adds the job of each.
insert into social_posts (account_id, content, settings, scheduled_at)
select p.account_id, p.content, p.settings, now() + interval '2 s'
  from jsonb_to_recordset(:posts::jsonb) as p (account_id bigint, content jsonb, settings jsonb)
returning id, platform, job_id;

-- name: published
select p.platform, p.status, p.url, p.error
  from social_posts p
 where p.id = any(:ids)
 order by p.id;

-- name: accounts_of
select id, platform, external_id, coalesce(name, external_id) as name
  from social_accounts
 where status = 'active' and (platform = :platform or id = any(:ids))
 order by refreshed_at desc, id;

-- name: add_analysis
insert into analytics_jobs (kind, payload, dedupe_key) values (:kind, :payload, :dedupe_key) returning id;

-- name: reports
select html, markdown from analytics_reports where job_id = any(:ids) order by id;

-- name: try_1
SELECT id, platform, status, step, url FROM social_posts ORDER BY id DESC LIMIT 4;

-- name: try_2
SELECT step, status, reason FROM social_post_steps WHERE post_id = (SELECT max(id) FROM social_posts) ORDER BY id;

-- name: try_3
SELECT a.platform, e.views, e.likes, round(e.rate::numeric, 4) AS rate, e.formula
  FROM engagement(current_date - 30, current_date - 2) e JOIN analytics_accounts a ON a.id = e.account_id
 WHERE e.post_id = 0 ORDER BY a.platform;
