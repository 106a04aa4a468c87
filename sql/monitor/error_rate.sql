-- What part of the attempts of the last hour failed? The worst queue first. A few per cent that succeed on a retry are
-- usual; errors_by_code.sql says what they were. Null: there were no attempts.
with ended as (
  select queue, true as failed
    from job_errors
   where failed_at > now() - interval '1 hour'
  union all
  select queue, false
    from jobs
   where status = 'completed' and completed_at > now() - interval '1 hour'
)
select q.name                                                                            as queue,
       count(*) filter (where e.failed)                                                  as failed,
       count(e.queue)                                                                    as attempts,
       round(100.0 * count(*) filter (where e.failed) / nullif(count(e.queue), 0), 1)    as percent
  from queues q
  left join ended e on e.queue = q.name
 group by q.name
 order by percent desc nulls last, q.name;
