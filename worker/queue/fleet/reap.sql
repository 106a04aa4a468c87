-- name: find_dead
-- Workers that are dead, and those whose heartbeat is in the future.
select *
  from (select w.id, s.silent, w.id <> :self and (s.silent or not worker_is_alive(w.id)) as dead,
               w.heartbeat_at > clock_timestamp() + interval '1 second' as ahead
          from workers w,
               lateral (select clock_timestamp() - pg_catalog.make_interval(secs => :dead_after_s)) b (bound),
               lateral (select w.heartbeat_at < b.bound) s (silent)) f
 where f.dead or f.ahead;

-- name: set_back_heartbeats
-- A heartbeat in the future is from before the clock was set back. It would keep a frozen worker alive until the clock
-- is there again.
update workers set heartbeat_at = clock_timestamp() where heartbeat_at > clock_timestamp() + interval '1 second';

-- name: reap
-- A queue that it served may have been dropped since. If several workers want to reap one, one gets its row. A worker
-- that takes its lock again in the last moment lives.
delete from workers
 where id = :id and (:silent::boolean or pg_try_advisory_xact_lock(hashtextextended(id::text, 0::bigint)))
returning id, instance, host, pid, pools,
          array(select q from pg_catalog.unnest(queues) q
                 where to_regclass(quote_ident(q || '_jobs_live')) is not null) as queues;

-- name: end_sessions
-- All sessions of a process share a lock under its name. A role may end its own sessions, and no others. All get the
-- signal before the first is waited for. Rows that they still hold locked are left to the reconciler, half a minute
-- later.
with told as (
  select pg_catalog.array_agg(l.pid) filter (where pg_terminate_backend(l.pid)) as pids
    from pg_locks l
    join pg_stat_activity a on a.pid = l.pid and a.usename = session_user
   where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.pid <> pg_backend_pid()
     and l.database = (select oid from pg_database where datname = current_database())
     and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('rowmill ' || :instance::uuid::text, 0::bigint)
)
select count(*) filter (where pg_terminate_backend(pid, 500::bigint)) as waited_for
  from told, pg_catalog.unnest(told.pids) pid;
