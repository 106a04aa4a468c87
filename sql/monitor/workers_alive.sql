-- Who works? One row a process. `heartbeat_age` stays under ten seconds and `alive` true; where not, the others are about to
-- bury it, and its jobs are retried. No rows: nobody works.
select w.id, w.host, w.pid, w.version, w.queues, date_trunc('second', now() - w.started_at) as up_for,
       date_trunc('second', now() - w.heartbeat_at) as heartbeat_age,
       worker_is_alive(w.id) as alive,
       (select count(*) from jobs j where j.status = 'processing' and j.locked_by = w.id) as running
  from workers w
 order by w.host, w.pid;
