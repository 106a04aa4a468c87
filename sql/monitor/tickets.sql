-- Which tickets are there? Tickets tell workers which jobs to look at. `due` tickets that nobody claims belong to
-- queues that are paused, or that no worker serves. More jobs than tickets is normal (batch_size). Due jobs without a
-- ticket get one within a minute.
select q.name as queue,
       count(t.id) filter (where t.locked_at is null and t.run_at <= now()) as due,
       count(t.id) filter (where t.locked_at is not null)                   as claimed,
       count(t.id) filter (where t.locked_at is null and t.run_at > now())  as later,
       min(t.run_at) filter (where t.locked_at is null)                     as next_run_at
  from queues q
  left join rowmill_tickets.jobs t on t.task_identifier = q.name
 group by q.name
 order by q.name;
