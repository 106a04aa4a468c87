-- Supabase: edge functions and servers (service_role) may add, read and change jobs; browsers (anon, authenticated) nothing.
-- Run once, in the SQL editor. New projects grant nothing by themselves, and older ones too much, so all is said here:
-- https://supabase.com/changelog
grant usage on schema public to service_role;
grant usage on sequence job_ids to service_role;
grant select, insert, update, delete
   on jobs, publish_jobs, media_jobs, notification_jobs, social_jobs, analytics_jobs, cleanup_jobs
   to service_role;
grant select, update on queues to service_role;
grant select on job_errors, workers, dead_letters, queue_depth, schedule_status, cleanup_logs, storage_deletions to service_role;
grant select, insert, update, delete on listeners, schedules to service_role;
grant select, insert, update on auction_files, media to service_role;

-- Row level security keeps browsers out already. This also takes away what it does not cover, such as TRUNCATE.
revoke all on jobs, publish_jobs, media_jobs, notification_jobs, social_jobs, analytics_jobs, cleanup_jobs,
              queues, job_keys, job_errors, workers, schedules, rate_limits, listeners,
              dead_letters, queue_depth, schedule_status, cleanup_logs, storage_deletions, storage_listing, orphan_sightings
  from anon, authenticated;
revoke all on sequence job_ids from anon, authenticated;

-- An edge function attaches a file and publishes it in one transaction:
--   const { data: jobId } = await supabase.rpc('attach_file', { source_key: 'lots/4711/front.jpg' });
create function attach_file(source_key text) returns bigint
  language sql
as $$
  with file as (
    insert into auction_files (source_key)
    values (attach_file.source_key)
    returning id
  )
  insert into publish_jobs (file_id)
  select id from file
  returning id;
$$;
revoke execute on function attach_file from public, anon, authenticated;
grant execute on function attach_file to service_role;

-- Workers need the direct connection or the session pooler (port 5432): the transaction pooler (6543) breaks their locks and
-- LISTEN. Who only adds jobs may use any.
