-- name: others_jobs
-- Jobs for another worker: the worker of the demo has only what the demo needs.
select count(*) as jobs
  from jobs
 where queue = :queue and status in ('pending', 'processing')
   and coalesce(dedupe_key, '') !~ '^(demo/|rabbitmq:rowmill_demo_)';

-- name: cancel_leftovers
-- Jobs of an earlier demo that was killed: its stand-ins are gone.
update jobs
   set status = 'cancelled'
 where queue = :queue and status in ('pending', 'processing')
   and dedupe_key ~ '^(demo/|rabbitmq:rowmill_demo_)';

-- name: jobs
select id, status, attempt, started_at, completed_at, error_code, error, result
  from jobs
 where queue = :queue and id = any(:ids);
