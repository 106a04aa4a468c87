-- Supabase: edge functions and servers (service_role) may add, read and change jobs; browsers (anon, authenticated) may
-- do nothing. Run this once, in the SQL editor. New projects grant nothing by default: https://supabase.com/changelog
grant usage on schema public to service_role;
grant usage on sequence job_ids to service_role;
grant select, insert, update, delete on jobs to service_role;
-- The table of each queue: run this again after you have made a queue.
do $$ declare queue text; begin
  for queue in select name from queues loop
    execute format('grant select, insert, update, delete on %I to service_role', queue || '_jobs');
  end loop;
end $$;
grant select, update on queues to service_role;
grant select
   on job_errors, error_codes, workers, dead_letters, queue_depth, schedule_status, cleanup_logs, storage_deletions
   to service_role;
grant select, insert, update, delete on listeners, schedules, schedule_ticks, rate_limits to service_role;
grant select, insert, update on auction_files, media to service_role;
grant execute on function take_tokens, run_schedule, note_tick, worker_is_alive to service_role;

-- Older projects granted everything to browsers; the migrations took it back. Run this again after a
-- `grant ... on all tables in schema public`: it takes back all rights on what Rowmill created: tables and their
-- partitions, views, sequences, functions.
select close_objects();

-- An edge function inserts a file and publishes it in one transaction:
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

-- Workers need the direct connection or the session pooler (port 5432): the transaction pooler (6543) breaks their
-- locks and LISTEN. Clients that only add jobs may use any.
