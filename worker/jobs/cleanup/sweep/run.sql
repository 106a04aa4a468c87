-- Records in cleanup_logs what a run did.

-- name: forget_dry_run
-- The log of an earlier attempt: its figures would be counted twice.
delete from cleanup_logs where job_id = :job_id and finished_at is null and dry_run;

-- name: open_log
-- A retry of the job continues the row of the attempt before, with its cutoff, or an older one if its payload was
-- changed meanwhile.
insert into cleanup_logs (job_id, kind, cutoff, dry_run)
values (:job_id, :kind, date_trunc('milliseconds', clock_timestamp() - :older_than::interval), :dry_run)
    on conflict (job_id) where finished_at is null do update
   set dry_run = excluded.dry_run, cutoff = least(cleanup_logs.cutoff, excluded.cutoff)
returning id, cutoff, scanned + skipped = 0 as fresh;

-- name: count_log
update cleanup_logs
   set scanned = scanned + :scanned, deleted = deleted + :deleted, bytes = bytes + :bytes, skipped = skipped + :skipped,
       errors = errors + :errors, generated = generated + :generated, requested = requested + :requested
 where id = :id;

-- name: finish_log
update cleanup_logs set remaining = :remaining, finished_at = clock_timestamp()
 where id = :id
returning scanned, deleted, bytes, skipped, errors, generated, requested;

-- name: continue_job
-- The rest is a job of its own, so that other cleanups run in between. It starts where this one ended. For the schedule
-- it is the same job: while it has not ended, `overlap` applies.
with rest as (
  insert into jobs (queue, kind, payload, priority, max_retries)
  select queue, kind, payload || :go_on, priority, max_retries from jobs where id = :job_id and queue = :queue
  returning id
)
update schedules s set last_job_id = r.id from rest r where s.last_job_id = :job_id;

-- name: ensure_deletions_job
-- Not at once: a storage that refuses gets a rest.
insert into jobs (queue, kind, run_at)
select 'cleanup', 'storage_deletions', greatest(min(due_at), clock_timestamp() + interval '5 seconds')
  from storage_deletions
 where due_at < 'infinity'
having count(*) > 0
   and not exists (select from cleanup_jobs_live where kind = 'storage_deletions' and status = 'pending');
