-- What happened to one job? Replace 0 by its id. First the row as it is now, then each failed attempt, the newest
-- first.
select 'now' as what, status, attempt, started_at, completed_at as ended_at, error_code, error
  from jobs
 where id = 0
union all
select 'attempt ' || attempt, 'failed', attempt, started_at, failed_at, error_code, error
  from job_errors
 where job_id = 0
 order by attempt desc, what desc;
