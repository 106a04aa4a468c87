-- How many jobs are completed per minute? Over the last minute, ten minutes and hour. If the first number is far below
-- the others, the queue slows down. A queue that has completed nothing for an hour has no row.
select queue,
       count(*) filter (where completed_at > now() - interval '1 minute')                    as last_minute,
       round(count(*) filter (where completed_at > now() - interval '10 minutes') / 10.0, 1) as last_10_minutes,
       round(count(*) / 60.0, 1)                                                             as last_hour
  from jobs
 where status = 'completed' and completed_at > now() - interval '1 hour'
 group by queue
 order by queue;
