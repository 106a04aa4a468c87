-- The figures of a report. Each statement is printed beside what it gives, with its values filled in: whoever doubts a
-- figure runs it. All begin with the accounts and the days of the period; `before` is the same number of days before.

-- name: totals
-- A level, such as followers, is the last that is known of each account. Reach does not add up, and is left out.
with periods (which, first, last) as (
  values ('now', :first::date, :last::date),
         ('before', :first::date - (:last::date - :first::date + 1), :first::date - 1)
), of_accounts as (
  select p.which, d.account_id, d.metric, pg_catalog.count(d.value) as days,
         case when m.is_level
              then (pg_catalog.array_agg(d.value order by d.day desc) filter (where d.value is not null))[1]
              else sum(d.value)::bigint end as value
    from periods p
    join metric_daily d on d.account_id = any(:accounts::bigint[]) and d.post_id = 0::bigint
     and d.day between p.first and p.last
    left join analytics_metrics m on m.name = d.metric
   where coalesce(m.adds_up, true) or m.is_level
   group by p.which, d.account_id, d.metric, m.is_level
)
select metric,
       (sum(value) filter (where which = 'now'))::bigint as value,
       (sum(value) filter (where which = 'before'))::bigint as before,
       coalesce((sum(days) filter (where which = 'now'))::integer, 0) as days,
       coalesce((sum(days) filter (where which = 'before'))::integer, 0) as days_before
  from of_accounts
 group by metric
 order by metric;

-- name: days
-- A day that is unknown is null, and not 0.
with calendar as (
  select :first::date + n as day, n
    from pg_catalog.generate_series(:first::date - :last::date - 1, :last::date - :first::date) n
)
select c.day::text, c.n >= 0 as is_now,
       (sum(d.value) filter (where d.metric = 'views'))::bigint as views,
       (sum(d.value) filter (where d.metric in ('likes', 'comments', 'shares', 'saves')))::bigint as engagements,
       (sum(d.value) filter (where d.metric = 'followers'))::bigint as followers
  from calendar c
  left join metric_daily d on d.account_id = any(:accounts::bigint[]) and d.post_id = 0::bigint and d.day = c.day
 group by c.day, c.n
 order by c.day;

-- name: rates
-- Sums over sums, for each account.
select a.id as account_id, a.platform, coalesce(a.name, a.external_id) as name, e.views, e.engagements, e.rate,
       e.formula, b.views as views_before, b.engagements as engagements_before, b.rate as rate_before
  from analytics_accounts a
  left join engagement(:first::date, :last::date, :accounts::bigint[]) e
    on e.account_id = a.id and e.post_id = 0::bigint
  left join engagement(:first::date - (:last::date - :first::date + 1), :first::date - 1, :accounts::bigint[]) b
    on b.account_id = a.id and b.post_id = 0::bigint
 where a.id = any(:accounts::bigint[])
 order by e.views desc nulls last, a.id;

-- name: posts
select p.id as post_id, a.platform, coalesce(p.title, p.external_id) as title, p.url,
       (p.published_at at time zone a.time_zone)::date::text as published, e.views, e.engagements, e.rate
  from engagement(:first::date, :last::date, :accounts::bigint[]) e
  join analytics_posts p on p.id = e.post_id
  join analytics_accounts a on a.id = p.account_id
 where e.views > 0::bigint
 order by e.views desc, p.id
 limit 10;

-- name: times
-- Posts of the 90 days until the end of the period, by when they were published. With fewer than 100 views the rate of
-- a post says nothing.
with rated as (
  select e.rate, p.published_at at time zone a.time_zone as published
    from engagement(:last::date - 89, :last::date, :accounts::bigint[]) e
    join analytics_posts p on p.id = e.post_id
    join analytics_accounts a on a.id = p.account_id
   where e.views >= 100::bigint and e.rate is not null and (p.published_at at time zone a.time_zone)::date
                                                           between :last::date - 89 and :last::date
), grouped as (
  select 'weekday' as by_what, extract(isodow from published)::integer as part, rate from rated
   union all
  select 'hour', extract(hour from published)::integer / 3 * 3, rate from rated
   union all
  select 'all', 0, rate from rated
)
select by_what, part, pg_catalog.count(rate)::integer as n,
       percentile_cont(0.5::float8) within group (order by rate) as median_rate
  from grouped
 group by by_what, part
 order by by_what, part;

-- name: anomalies
-- With the posts of that day and the day before: what happened at the same time, which need not be the reason.
select n.day::text, a.platform, coalesce(a.name, a.external_id) as name, n.metric, n.value, n.expected, n.z, n.change,
       n.days,
       array(select coalesce(p.title, p.external_id) from analytics_posts p
              where p.account_id = n.account_id
                and (p.published_at at time zone a.time_zone)::date between n.day - 1 and n.day
              order by p.published_at limit 3) as posts
  from anomalies n
  join analytics_accounts a on a.id = n.account_id
 where n.account_id = any(:accounts::bigint[]) and n.day between :first::date and :last::date
 order by abs(n.z) desc, n.id
 limit 20;

-- name: published
select pg_catalog.count(*) filter (where d.day between :first::date and :last::date)::integer as now,
       pg_catalog.count(*) filter (where d.day between :first::date - (:last::date - :first::date + 1)
                                                   and :first::date - 1)::integer as before
  from analytics_posts p
  join analytics_accounts a on a.id = p.account_id
 cross join lateral (select (p.published_at at time zone a.time_zone)::date as day) d
 where p.account_id = any(:accounts::bigint[]);
