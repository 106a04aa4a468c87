-- Which workers are alive? One row per process. `heartbeat_age` should stay under ten seconds, and `alive` be true;
-- otherwise the other workers will reap this worker and retry its jobs. No rows: no worker runs.
select w.id, w.host, w.pid, w.version, w.queues, date_trunc('second', now() - w.started_at) as up_for,
       date_trunc('second', now() - w.heartbeat_at) as heartbeat_age,
       worker_is_alive(w.id) as alive,
       (select count(*) from jobs j where j.status = 'processing' and j.locked_by = w.id) as running
  from workers w
 order by w.host, w.pid;
