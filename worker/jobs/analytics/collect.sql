-- name: add_jobs
-- One for each account, and none while the last one waits.
insert into jobs (queue, kind, payload)
select 'analytics', 'collect', pg_catalog.jsonb_build_object('accountId', a.id)
  from social_accounts a
 where a.status = 'active' and (:platform::text is null or a.platform = :platform)
   and not exists (select from analytics_jobs_live j
                    where j.kind = 'collect' and j.status in ('pending', 'processing')
                      and j.payload -> 'accountId'::text = pg_catalog.to_jsonb(a.id))
returning id;

-- name: make_partition
select make_metric_partitions(now(), now());

-- name: put_account
-- Platforms correct counters of TikTok within a day, those of the others within three.
insert into analytics_accounts as a (platform, external_id, name, final_days)
values (:platform, :external_id, :name, case when :platform = 'tiktok' then 1 else 3 end)
    on conflict (platform, external_id) do update set name = coalesce(excluded.name, a.name)
returning id;

-- name: put_posts
insert into analytics_posts as p (account_id, external_id, published_at, title, url)
select distinct on (g.external_id) :account_id::bigint, g.external_id, g.published_at, g.title, g.url
  from jsonb_to_recordset(:posts::jsonb) as g (external_id text, published_at timestamptz, title text, url text)
 order by g.external_id
    on conflict (account_id, external_id) do update
   set published_at = coalesce(excluded.published_at, p.published_at), title = coalesce(excluded.title, p.title),
       url = coalesce(excluded.url, p.url)
returning id, external_id;

-- name: put_points
-- One moment for all of them: that at which the transaction began, which is after the last answer.
with put as (
  insert into metric_points (account_id, post_id, metric, observed_at, value, cumulative)
  select distinct on (g.post_id, g.metric) :account_id::bigint, g.post_id, g.metric, now(), g.value, true
    from jsonb_to_recordset(:points::jsonb) as g (post_id bigint, metric text, value bigint)
   order by g.post_id, g.metric
      on conflict (account_id, post_id, metric, observed_at) do update set value = excluded.value
  returning value
)
select count(*)::integer as points, (count(*) filter (where value is null))::integer as unknown from put;
