-- name: is_ticket_due
-- Whether a ticket that nobody has claimed is due since this time, and more urgent than this priority. It reads the
-- first available ticket of each priority, however many wait: see graphile-pool.sql. graphile-worker's public view
-- cannot use an index.
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
   where n.priority < :below::integer
)
select exists (select from firsts
                where priority < :below::integer
                  and run_at <= now() - pg_catalog.make_interval(secs => :for_s)) as found;
