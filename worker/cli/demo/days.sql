-- name: invent_account
-- With the id and the platform of social_accounts, if it was connected.
insert into analytics_accounts as a (platform, external_id, name, final_days, stale_from)
values (:platform, :external_id, :name, 1, current_date - 61)
    on conflict (platform, external_id) do update set name = excluded.name, stale_from = excluded.stale_from
returning a.id;

-- name: invent_posts
with given as (
  select * from jsonb_to_recordset(:posts::jsonb) as g (external_id text, title text, age integer, hour integer)
), put as (
  insert into analytics_posts as p (account_id, external_id, title, published_at)
  select :account_id, external_id, title, (current_date - age + pg_catalog.make_time(hour, 0, 0)) at time zone 'UTC'
    from given
      on conflict (account_id, external_id) do update set title = excluded.title
  returning p.id, p.external_id
)
select put.id, g.age from put join given g using (external_id) order by g.age;

-- name: make_partitions
select make_metric_partitions(now() - interval '62 days', now());

-- name: invent_points
-- At half past midnight, so that the reading closes the day before.
insert into metric_points (account_id, post_id, metric, observed_at, value, cumulative)
select :account_id, p.post_id, p.metric, (current_date - p.nights + 1 + time '00:30') at time zone 'UTC', p.value, true
  from jsonb_to_recordset(:points::jsonb) as p (post_id bigint, metric text, nights integer, value bigint)
    on conflict (account_id, post_id, metric, observed_at) do update set value = excluded.value;
