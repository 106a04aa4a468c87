-- name: due_tickets
-- For each queue the ticket that a claim would return: see graphile-pool.sql. It reads the first available ticket of
-- each priority until it finds one that is due, however many wait. graphile-worker's public view cannot use an index.
select q.queue, due.priority, extract(epoch from now() - due.run_at)::float8 * 1000::float8 as waiting_ms
  from pg_catalog.unnest(:queues::text[]) q (queue)
 cross join lateral (
         with recursive task as (
           select id from :"tickets"._private_tasks where identifier = q.queue
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
                                 where t.is_available and t.job_queue_id is null
                                   and t.task_id = (select id from task) and t.priority > f.priority
                                 order by t.priority, t.run_at
                                 limit 1) n
         )
         select priority, run_at from firsts where run_at <= now() limit 1) due;
