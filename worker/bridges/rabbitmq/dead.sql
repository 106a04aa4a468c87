-- The statements of dead.ts. The outbox is the dead letter itself: it is published as long as bridge_dead has no row.

-- name: unpublished
select d.id, d.queue, d.kind, d.dead_queue, d.payload, d.error_code, d.error,
       d.completed_at::text as failed_at
  from dead_letters d
 where not d.archived
   and not exists (select from bridge_dead b where b.job_id = d.id and b.failed_at = d.completed_at)
 order by d.completed_at
 limit :limit;

-- name: published
insert into bridge_dead (job_id, failed_at)
select job_id, failed_at from unnest(:job_ids::bigint[], :failed_ats::timestamptz[]) as p (job_id, failed_at)
    on conflict (job_id) do update set failed_at = excluded.failed_at;

-- name: forget_retried
delete from bridge_dead b where not exists (select from dead_letters d where d.id = b.job_id and not d.archived);
