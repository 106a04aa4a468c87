-- cleanup_logs are kept as long as the archive of cleanup jobs. A job that has not ended, or has failed and may be run
-- again, continues its own log.

-- name: prune_logs
with pruned as (
  delete from cleanup_logs
   where id = any(array(select id from cleanup_logs l
                         where started_at < (select now() - keep_completed from queues where name = 'cleanup')
                           and not exists (select from cleanup_jobs_live j where j.id = l.job_id)
                         limit :limit))
  returning id
)
select count(*) as logs from pruned;

-- name: prunable_logs
select count(*) as logs from cleanup_logs l
 where started_at < (select now() - keep_completed from queues where name = 'cleanup')
   and not exists (select from cleanup_jobs_live j where j.id = l.job_id);
