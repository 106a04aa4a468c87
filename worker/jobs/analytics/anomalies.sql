-- name: load_series
-- One row a metric of an account: a value for each day of the calendar, null where it is unknown. A sum that lacks more
-- than a tenth of its posts is unknown, too: it would look like a fall. Of a level, such as followers, it is the growth
-- of the day.
with scopes as materialized (
  select a.id as account_id, s.until_day,
         greatest(coalesce(:from::date, s.until_day - (:days::integer - 1)), '1970-01-01'::date) as from_day
    from analytics_accounts a
   cross join lateral (
     select least(coalesce(:until::date, 'infinity'::date),
                  (clock_timestamp() at time zone a.time_zone)::date - 1 - a.final_days::integer) as until_day) s
   where a.id = any(:ids::bigint[])
), days as (
  select d.account_id, d.metric, d.day, s.from_day, s.until_day,
         case when d.missing > 0 and d.missing * 10 > d.posts + d.missing then null
              when m.is_level then case when pg_catalog.lag(d.day) over series = d.day - 1
                                        then d.value - pg_catalog.lag(d.value) over series end
              else d.value end as value
    from scopes s
   -- One account at a time, by the index: aggregate.sql says why.
   cross join lateral (
     select * from metric_daily d
      where d.account_id = s.account_id and d.post_id = 0::bigint
        and d.day between s.from_day - (:window_days::integer + 1) and s.until_day
     offset 0) d
    left join analytics_metrics m on m.name = d.metric
   where s.from_day <= s.until_day
  window series as (partition by d.account_id, d.metric order by d.day)
), bounds as (
  select account_id, metric, from_day, until_day, min(day) as first_day from days group by 1, 2, 3, 4
)
select b.account_id, b.metric, b.first_day::text, b.from_day::text, b.until_day::text,
       greatest(b.from_day - b.first_day, 0) as judged,
       pg_catalog.array_agg(d.value::float8 order by c.day) as values,
       (select max(a.day) from anomalies a
         where a.account_id = b.account_id and a.metric = b.metric
           and a.day between b.from_day - (:quiet_days::integer - 1) and b.from_day - 1) - b.first_day as told
  from bounds b
 cross join lateral (select b.first_day + n as day from pg_catalog.generate_series(0, b.until_day - b.first_day) n) c
  left join days d on d.account_id = b.account_id and d.metric = b.metric and d.day = c.day
 group by b.account_id, b.metric, b.first_day, b.from_day, b.until_day
 order by b.account_id, b.metric;

-- name: write_anomalies
-- Those that stand out no longer go: their figures were corrected.
with scopes as (
  select * from jsonb_to_recordset(:scopes::jsonb) as s (account_id bigint, metric text, from_day date, until_day date)
), found as (
  select * from jsonb_to_recordset(:found::jsonb)
    as f (account_id bigint, metric text, day date, value bigint, expected float8, z float8, change float8,
          days smallint)
), gone as (
  delete from anomalies a using scopes s
   where a.account_id = s.account_id and a.metric = s.metric and a.day between s.from_day and s.until_day
     and not exists (select from found f
                      where f.account_id = a.account_id and f.metric = a.metric and f.day = a.day)
)
insert into anomalies as a (account_id, metric, day, value, expected, z, change, days)
select account_id, metric, day, value, expected, z, change, days from found
    on conflict (account_id, metric, day) do update
   set value = excluded.value, expected = excluded.expected, z = excluded.z, change = excluded.change,
       days = excluded.days
 where (a.value, a.expected, a.z, a.change, a.days)
       is distinct from (excluded.value, excluded.expected, excluded.z, excluded.change, excluded.days);
