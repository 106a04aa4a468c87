-- name: more_urgent
-- Whether a ticket waits that is more urgent than this priority. graphile-worker's public view cannot use its index.
select exists (select from :"tickets"._private_jobs t
                where t.is_available and t.priority < :priority and t.run_at <= now()
                  and t.task_id = (select id from :"tickets"._private_tasks where identifier = :queue)) as found;
