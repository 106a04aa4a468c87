-- name: others_jobs
-- Jobs for another worker: the worker of the demo does not have their originals.
select count(*) as jobs
  from publish_jobs j
  left join auction_files f on f.id::text = j.file_id
 where j.status in ('pending', 'processing') and coalesce(f.source_key, '') not like 'demo/%';

-- name: cancel_leftovers
-- Jobs of an earlier demo that was killed: their originals are gone.
update publish_jobs j
   set status = 'cancelled'
  from auction_files f
 where f.id::text = j.file_id and f.source_key like 'demo/%' and j.status in ('pending', 'processing');

-- name: add_file
insert into auction_files (source_key) values (:source_key) returning id::text;

-- name: add_job
insert into publish_jobs (file_id, max_retries) values (:file_id, 1) returning id;

-- name: pictures
select id, status, attempt, started_at, completed_at, error_code, error, result
  from publish_jobs
 where id = any(:ids);
