-- Is anything stuck? For each queue, how long its oldest due job has waited, the worst first. If `paused` is true, or
-- `workers` is 0, that is the reason. Otherwise the queue gets more jobs than its workers can do, or long jobs hold all
-- slots: running_now.sql shows them.
select q.name as queue,
       count(j.id)                                                    as due,
       min(j.run_at)                                                  as oldest_run_at,
       date_trunc('second', now() - min(case when isfinite(j.run_at) then j.run_at else j.created_at end))
                                                                      as waits,
       q.paused,
       (select count(*) from workers w where q.name = any (w.queues)) as workers
  from queues q
  left join jobs j on j.queue = q.name and j.status = 'pending' and j.run_at <= now()
 group by q.name
 order by oldest_run_at nulls last, q.name;
