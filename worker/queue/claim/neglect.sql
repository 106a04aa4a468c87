-- name: unclaimed
-- Whether a ticket has been due and unclaimed for this time. It reads the first available ticket of each priority: see
-- graphile-pool.sql.
with recursive task as (
  select id from :"tickets"._private_tasks where identifier = :queue
), firsts as (
  (select t.priority, t.run_at
     from :"tickets"._private_jobs t
    where t.is_available and t.job_queue_id is null and t.task_id = (select id from task)
    order by t.priority, t.run_at
    limit 1)
  union all
  select n.priority, n.run_at
    from firsts f
   cross join lateral (select t.priority, t.run_at
                         from :"tickets"._private_jobs t
                        where t.is_available and t.job_queue_id is null and t.task_id = (select id from task)
                          and t.priority > f.priority
                        order by t.priority, t.run_at
                        limit 1) n
)
select exists (select from firsts
                where run_at < now() - pg_catalog.make_interval(secs => :for_s)) as found;
