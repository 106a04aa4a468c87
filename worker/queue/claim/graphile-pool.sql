-- name: claim_ticket
-- In place of graphile-worker's own statement, which reads every ticket that is more urgent, of whatever queue, until
-- it finds one that is due. This one reads the first ticket of each priority of the queue: `firsts`, computed one after
-- another as `due` asks for them. What is due is locked; where others have locked all of it, the next priority follows.
-- It returns the same as graphile-worker's. Our tickets have no job_queue_id.
with recursive firsts as (
  (select t.priority, t.run_at
     from :"tickets"._private_jobs t
    where t.is_available and t.job_queue_id is null and t.task_id = :task
    order by t.priority, t.run_at
    limit 1)
  union all
  select n.priority, n.run_at
    from firsts f
   cross join lateral (select t.priority, t.run_at
                         from :"tickets"._private_jobs t
                        where t.is_available and t.job_queue_id is null and t.task_id = :task
                          and t.priority > f.priority
                        order by t.priority, t.run_at
                        limit 1) n
), due as (
  select d.id
    from firsts f
   cross join lateral (select t.id
                         from :"tickets"._private_jobs t
                        where t.is_available and t.job_queue_id is null and t.task_id = :task
                          and t.priority = f.priority and t.run_at <= now()
                        order by t.run_at
                        limit 1
                          for update skip locked) d
   where f.run_at <= now()
   limit 1
)
update :"tickets"._private_jobs t
   set attempts = t.attempts + 1, locked_by = :pool::text, locked_at = now()
  from due
 where t.id = due.id
returning t.*;
