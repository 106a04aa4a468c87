-- What do the workers know of? Tickets say which jobs to look at: `due` ones that nobody claims are for queues that are paused or
-- that no worker serves. More jobs than tickets is right (batch_size); due jobs with no ticket at all get one within a minute.
select q.name as queue,
       count(t.id) filter (where t.locked_at is null and t.run_at <= now()) as due,
       count(t.id) filter (where t.locked_at is not null)                   as claimed,
       count(t.id) filter (where t.locked_at is null and t.run_at > now())  as later,
       min(t.run_at) filter (where t.locked_at is null)                     as next_run_at
  from queues q
  left join rowmill_tickets.jobs t on t.task_identifier = q.name
 group by q.name
 order by q.name;
