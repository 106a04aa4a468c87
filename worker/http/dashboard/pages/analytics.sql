-- What the pages of analytics show.

-- name: accounts
-- Each account, with the sums of two periods that follow each other. Unknown days are left out; `known` says how many
-- there are.
select a.id, a.platform, coalesce(a.name, a.external_id) as name,
       (sum(d.value) filter (where d.day > t.last - :days::integer))::bigint as value,
       (sum(d.value) filter (where d.day <= t.last - :days::integer))::bigint as before,
       pg_catalog.count(d.value) filter (where d.day > t.last - :days::integer) as known
  from analytics_accounts a
 cross join lateral (select (clock_timestamp() at time zone a.time_zone)::date - 1 - a.final_days::integer as last) t
  left join lateral (
    select * from metric_daily d
     where d.account_id = a.id and d.post_id = 0::bigint and d.metric = 'views'
       and d.day > t.last - 2 * :days::integer and d.day <= t.last
    offset 0) d on true
 group by a.id
 order by a.platform, a.id
 limit 500;

-- name: account
select id, platform, coalesce(name, external_id) as name, time_zone, final_days from analytics_accounts where id = :id;

-- name: metrics_of
select distinct metric from metric_daily where account_id = :id and post_id = 0::bigint order by metric;

-- name: days_of
-- Each day of a period, beside the same day of the period before; null: unknown. z: it stands out.
select extract(epoch from c.day)::float8 as at, d.value, b.value as before, n.expected, n.z, n.change
  from analytics_accounts a
 cross join lateral (select (clock_timestamp() at time zone a.time_zone)::date - 1 as last) t
 cross join lateral (select t.last - g as day from pg_catalog.generate_series(0, :days::integer - 1) g) c
  left join metric_daily d on d.account_id = a.id and d.post_id = 0::bigint and d.metric = :metric and d.day = c.day
  left join metric_daily b on b.account_id = a.id and b.post_id = 0::bigint and b.metric = :metric
   and b.day = c.day - :days::integer
  left join anomalies n on n.account_id = a.id and n.metric = :metric and n.day = c.day
 where a.id = :id
 order by c.day;
