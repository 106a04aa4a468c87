-- What tests ask and change, beside the client.

-- name: disable_schedules
update schedules set enabled = false;

-- name: unsettled
select j.id, j.queue || '.' || j.kind as name, j.status
  from jobs j
  join queues q on q.name = j.queue
 where not j.archived and j.queue = any(:queues) and not q.paused
   and (j.status = 'processing' or j.status = 'pending' and j.run_at <= clock_timestamp())
 order by j.id
 limit 10;

-- name: advance
update jobs
   set run_at     = run_at - pg_catalog.make_interval(secs => :ms::float8 / 1000::float8),
       expires_at = expires_at - pg_catalog.make_interval(secs => :ms::float8 / 1000::float8)
 where not archived and status = 'pending' and isfinite(run_at)
   and (run_at > clock_timestamp() or expires_at is not null);
