-- name: unclaimed
-- Whether a ticket has been due and unclaimed for this time.
select exists (select from :"tickets"._private_jobs t
                where t.is_available and t.run_at < now() - pg_catalog.make_interval(secs => :for_s)
                  and t.task_id = (select id from :"tickets"._private_tasks where identifier = :queue)) as found;
