-- Days of accounts that stood out in the last four weeks, the farthest first. One metric: add `and n.metric = 'views'`.
select n.day, a.platform, coalesce(a.name, a.external_id) as name, n.metric, n.value, round(n.expected) as expected,
       round(n.z::numeric, 1) as z, round(100 * n.change::numeric) as percent
  from anomalies n
  join analytics_accounts a on a.id = n.account_id
 where n.day >= current_date - 28
 order by abs(n.z) desc;
