-- Which workers are alive. A worker holds a session advisory lock under its id, and renews its heartbeat. The others
-- reap it when the lock is free (its process or connection is gone), or the heartbeat is old (its host froze). By the
-- database's clock only.

-- name: join_fleet
-- If the answer is lost, it joins again.
insert into workers (id, instance, host, pid, version, queues)
values (:id, :instance, :host, :pid, :version, :queues)
    on conflict (id) do nothing;

-- name: hold_lock
select pg_try_advisory_lock(hashtextextended(:id::uuid::text, 0::bigint)) as held;

-- name: is_member
-- Every role of the database may read the key of our lock, and wait for it. If a session of another role gets it, the
-- worker cannot take it again: it starts over under another id.
select w.id
  from workers w
 where w.id = :id
   and not exists (select from pg_locks l
                     join pg_stat_activity a on a.pid = l.pid and a.usename <> session_user
                    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                      and l.database = (select oid from pg_database where datname = current_database())
                      and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(w.id::text, 0::bigint));

-- name: heartbeat
update workers set heartbeat_at = clock_timestamp(), memory_bytes = :memory_bytes, running = :running
 where id = :id
returning id;

-- name: end_former_session
select count(*) filter (where pg_terminate_backend(l.pid, 1000::bigint)) as ended
  from pg_locks l
  join pg_stat_activity a on a.pid = l.pid and a.usename = session_user
 where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.pid <> pg_backend_pid()
   and l.database = (select oid from pg_database where datname = current_database())
   and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(:id::uuid::text, 0::bigint);

-- name: leave_fleet
delete from workers where id = :id;
