-- Makes schedules of jobs of pg_cron: which of them becomes which kind stands in the list. The new schedules are
-- disabled, and pg_cron goes on. Look at them, then change over, both in one transaction:
--   begin;
--   update schedules set enabled = true where name = 'clean-stories';
--   select cron.alter_job(jobid, active := false) from cron.job where jobname = 'clean-stories';
--   commit;
-- pg_cron runs in GMT unless cron.timezone says otherwise. Schedules in seconds, such as '30 seconds', have six fields
-- here: '*/30 * * * * *'. A job of pg_cron that inserts rows into Rowmill's tables needs no change at all.
with kinds (jobname, queue, kind) as (values
  ('clean-stories', 'cleanup', 'stories'),
  ('clean-temp',    'cleanup', 'temp_files')
)
insert into schedules (name, cron, time_zone, queue, kind, enabled)
select c.jobname,
       regexp_replace(c.schedule, '^([0-9]+) seconds?$', '*/\1 * * * * *'),
       coalesce(nullif(current_setting('cron.timezone', true), 'GMT'), 'UTC'),
       k.queue, k.kind, false
  from cron.job c
  join kinds k using (jobname)
    on conflict (name) do nothing
returning name, cron, time_zone, queue, kind;
