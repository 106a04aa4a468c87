-- Who works? One row a process. `heartbeat_age` stays under ten seconds and `lock_held` true; where not, the others are about to
-- bury it, and its jobs are retried. No rows: nobody works.
select w.id, w.host, w.pid, w.version, w.queues, date_trunc('second', now() - w.started_at) as up_for,
       date_trunc('second', now() - w.heartbeat_at) as heartbeat_age,
       exists (select from pg_locks l
                where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
                  and l.database = (select oid from pg_database where datname = current_database())
                  and (l.classid::bigint << 32) | l.objid::bigint = hashtextextended(w.id::text, 0)) as lock_held,
       (select count(*) from jobs j where j.status = 'processing' and j.locked_by = w.id)            as running
  from workers w
 order by w.host, w.pid;
