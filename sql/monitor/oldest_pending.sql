-- Is anything stuck? How long the oldest due job of each queue has waited, the worst first. Waiting while `paused` is true or
-- `workers` is 0 explains itself; otherwise the queue gets more jobs than it can do, or long ones hold all its slots, which
-- running_now.sql shows.
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
