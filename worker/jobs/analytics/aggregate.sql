-- Days of points, and weeks of days. Each row of metric_daily follows from the points of its day and of the day before
-- alone: so it is the same whatever period is computed, and however often.

-- name: make_partitions
select make_metric_partitions(now(), now() + interval '1 month');

-- name: take_memory
-- For this transaction. With the default of 4 MB, the sorts of a few accounts go to the disk.
select pg_catalog.set_config('work_mem', '48MB', true);

-- name: find_scopes
-- Which days of each account: from the first with points that came in since, at least the last few, to yesterday. The
-- lock keeps two runs from computing the same account at the same time.
select a.id as account_id, a.stale_from::text,
       coalesce(:from::date, least(a.stale_from, t.yesterday - (:days::integer - 1)))::text as first_day,
       coalesce(:until::date, t.yesterday)::text as last_day
  from analytics_accounts a
 cross join lateral (select (clock_timestamp() at time zone a.time_zone)::date - 1 as yesterday) t
 where a.id = any(:ids::bigint[])
 order by a.id
   for no key update of a;

-- name: aggregate_days
-- Here and below: `offset 0` makes Postgres read one account at a time, by the index. It does not know how few scopes
-- there are, and would read the whole table for each chunk of accounts.
-- What a counter read, or a level was, when a day was closed. Readings between noon of a day and noon of the next may
-- close it; the one nearest to midnight does. So a reading at 03:00 closes the day before.
-- It computes one day more than it was asked for: the sums of accounts compare the posts of a day with those before.
with scopes as (
  select s.account_id, s.first_day - 1 as first_day, s.last_day, a.time_zone
    from jsonb_to_recordset(:scopes::jsonb) as s (account_id bigint, first_day date, last_day date)
    join analytics_accounts a on a.id = s.account_id
), readings as materialized (
  select distinct on (p.account_id, p.post_id, p.metric, c.day)
         p.account_id, p.post_id, p.metric, c.day, p.value, s.first_day, s.time_zone
    from scopes s
   cross join lateral (
     select * from metric_points p
      where p.account_id = s.account_id and p.cumulative and p.value is not null
        and p.observed_at >= (s.first_day - interval '1 day') at time zone s.time_zone
        and p.observed_at <  (s.last_day  + interval '2 days') at time zone s.time_zone
     offset 0) p
   cross join lateral (select (p.observed_at at time zone s.time_zone + interval '12 hours')::date - 1 as day) c
   where c.day between s.first_day - 1 and s.last_day
   order by p.account_id, p.post_id, p.metric, c.day,
            abs(extract(epoch from p.observed_at - (c.day + 1)::timestamp at time zone s.time_zone)::float8),
            p.observed_at
), beside as (
  select r.*, pg_catalog.lag(r.value) over series as before_value, pg_catalog.lag(r.day) over series as before_day
    from readings r
  window series as (partition by r.account_id, r.post_id, r.metric order by r.day)
), grown as (
  -- A counter stood at 0 when its post was published. Else the day before must have been closed, too.
  select b.account_id, b.post_id, b.metric, b.day, b.value, coalesce(m.is_level, false) as is_level,
         case when b.before_day = b.day - 1 then b.before_value
              when p.published_at >= b.day::timestamp at time zone b.time_zone then 0::bigint end as base
    from beside b
    left join analytics_posts p on p.id = b.post_id and b.before_day is distinct from b.day - 1
    left join analytics_metrics m on m.name = b.metric
   where b.day >= b.first_day
), days as (
  select g.account_id, g.post_id, g.metric, g.day,
         -- greatest() leaves nulls out: of an unknown growth it would make 0.
         case when g.is_level then g.value when g.base is not null then greatest(g.value - g.base, 0::bigint) end
           as value,
         case when g.is_level or g.base is null then 0::bigint else greatest(g.base - g.value, 0::bigint) end
           as decrease,
         2 as rank
    from grown g
   union all
  -- Amounts of days. Several of one day are parts of it.
  select p.account_id, p.post_id, p.metric, (p.observed_at at time zone 'UTC')::date, sum(p.value)::bigint, 0::bigint, 1
    from scopes s
   cross join lateral (
     select * from metric_points p
      where p.account_id = s.account_id and not p.cumulative
        and p.observed_at >= s.first_day::timestamp at time zone 'UTC'
        and p.observed_at <  (s.last_day + interval '1 day') at time zone 'UTC'
     offset 0) p
   group by 1, 2, 3, 4
), written as (
  -- The platform's own amount of a day goes before what its counter grew by.
  insert into metric_daily as d (account_id, post_id, metric, day, value, decrease)
  select distinct on (account_id, post_id, metric, day) account_id, post_id, metric, day, value, decrease
    from days
   order by account_id, post_id, metric, day, value is null, rank
      on conflict (account_id, post_id, metric, day) do update
     set value = excluded.value, decrease = excluded.decrease, posts = null, missing = null
   where case when d.posts is null then (d.value, d.decrease) is distinct from (excluded.value, excluded.decrease)
              else excluded.value is not null end
  returning 1
)
select count(*) as rows from written;

-- name: aggregate_accounts
-- What the platform does not say of an account is the sum of its posts. A sum whose posts are all unknown is null.
with scopes as (
  select s.account_id, s.first_day, s.last_day
    from jsonb_to_recordset(:scopes::jsonb) as s (account_id bigint, first_day date, last_day date)
), posts as (
  select d.account_id, d.post_id, d.metric, d.day, d.value,
         pg_catalog.lead(d.day) over (partition by d.account_id, d.post_id, d.metric order by d.day) as next_day,
         s.first_day, s.last_day
    from scopes s
   cross join lateral (
     select * from metric_daily d
      where d.account_id = s.account_id and d.post_id <> 0::bigint and d.day between s.first_day - 1 and s.last_day
     offset 0) d
    left join analytics_metrics m on m.name = d.metric
   where coalesce(m.adds_up, true)
), sums as (
  select account_id, metric, day, sum(value)::bigint as value, pg_catalog.count(value)::integer as posts,
         count(*)::integer - pg_catalog.count(value)::integer as missing
    from (select account_id, metric, day, value from posts where day >= first_day
           union all
          -- Known the day before, and not on this day.
          select account_id, metric, day + 1, null from posts
           where next_day is distinct from day + 1 and day < last_day) known
   group by account_id, metric, day
), written as (
  insert into metric_daily as d (account_id, post_id, metric, day, value, posts, missing)
  select account_id, 0, metric, day, value, posts, missing from sums
      on conflict (account_id, post_id, metric, day) do update
     set value = excluded.value, decrease = 0, posts = excluded.posts, missing = excluded.missing
   where (d.value is null or d.posts is not null)
     and (d.value, d.posts, d.missing) is distinct from (excluded.value, excluded.posts, excluded.missing)
  returning 1
)
select count(*) as rows from written;

-- name: aggregate_weeks
with scopes as (
  select s.account_id, date_trunc('week', (s.first_day - 1)::timestamp)::date as first_day, s.last_day
    from jsonb_to_recordset(:scopes::jsonb) as s (account_id bigint, first_day date, last_day date)
), weeks as (
  select d.account_id, d.post_id, d.metric, date_trunc('week', d.day::timestamp)::date as week,
         case when coalesce(m.is_level, false)
              then (pg_catalog.array_agg(d.value order by d.day desc) filter (where d.value is not null))[1]
              when coalesce(m.adds_up, true) then sum(d.value)::bigint end as value,
         pg_catalog.count(d.value)::smallint as days
    from scopes s
   cross join lateral (
     select * from metric_daily d
      where d.account_id = s.account_id
        and d.day between s.first_day and date_trunc('week', s.last_day::timestamp)::date + 6
     offset 0) d
    left join analytics_metrics m on m.name = d.metric
   where coalesce(m.adds_up, true) or m.is_level
   group by d.account_id, d.post_id, d.metric, week, m.is_level, m.adds_up
)
insert into metric_weekly as w (account_id, post_id, metric, week, value, days)
select account_id, post_id, metric, week, value, days from weeks
    on conflict (account_id, post_id, metric, week) do update
   set value = excluded.value, days = excluded.days
 where (w.value, w.days) is distinct from (excluded.value, excluded.days);

-- name: settle_stale
-- Unless points came in meanwhile that are of still earlier days.
update analytics_accounts a
   set stale_from = null
  from jsonb_to_recordset(:scopes::jsonb) as s (account_id bigint, first_day date, stale_from date)
 where a.id = s.account_id and a.stale_from >= s.first_day;
