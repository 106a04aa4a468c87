-- Engagement of each account in the last four weeks: sums over sums, with the formula. Null: unknown, or no views.
select a.id, a.platform, coalesce(a.name, a.external_id) as name, e.views, e.engagements,
       round(100 * e.rate::numeric, 2) as percent, e.formula
  from analytics_accounts a
  left join engagement(current_date - 28, current_date - 1) e on e.account_id = a.id and e.post_id = 0
 order by e.views desc nulls last, a.id;
