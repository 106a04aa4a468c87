-- Adds a job of a schedule now, whether it is enabled or not: edit the name. Returns the id of the job.
select run_schedule(name) as job_id from schedules where name = 'no_such_schedule';
