-- Which days of the last two weeks are unknown, by account and metric, and when anything was last read. A metric that
-- an account never had is not listed.
select a.id, a.platform, coalesce(a.name, a.external_id) as name, m.metric,
       array_agg(c.day order by c.day) filter (where d.value is null) as unknown_days,
       (select max(p.observed_at) from metric_points p
         where p.account_id = a.id and p.observed_at > now() - interval '90 days') as last_read_at
  from analytics_accounts a
  join (select distinct account_id, metric from metric_daily where post_id = 0 and day > current_date - 90) m
    on m.account_id = a.id
 cross join (select current_date - n as day from generate_series(1, 14) n) c
  left join metric_daily d on d.account_id = a.id and d.post_id = 0 and d.metric = m.metric and d.day = c.day
 group by a.id, m.metric
having count(*) filter (where d.value is null) > 0
 order by a.id, m.metric;
