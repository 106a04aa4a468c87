-- Who is alive. A worker holds a session advisory lock under its id and renews its heartbeat; the others bury it when the lock is
-- free (its process or connection is gone) or the heartbeat is old (its host froze). The database's clock only.

-- name: join_fleet
insert into workers (id, host, pid, version, queues)
values (:id, :host, :pid, :version, :queues);

-- name: hold_lock
select pg_try_advisory_lock(hashtextextended(:id::uuid::text, 0)) as held,
       exists (select from workers where id = :id) as member;

-- name: heartbeat
update workers set heartbeat_at = clock_timestamp() where id = :id returning id;

-- name: add_pool
update workers set pools = array_append(pools, :pool) where id = :id returning id;

-- name: drop_pool
with unlocked as (select graphile_worker.force_unlock_workers(array[:pool::text]))
update workers set pools = array_remove(pools, :pool) where id = :id and (select count(*) from unlocked) >= 0;

-- name: bury_dead
-- The lock is tried last, and kept to the end of the transaction, so that only one of the others buries.
delete from workers
 where id <> :self
   and case when heartbeat_at < clock_timestamp() - make_interval(secs => :dead_after_s) then :trust_heartbeats::boolean
            when :trust_locks::boolean then pg_try_advisory_xact_lock(hashtextextended(id::text, 0))
            else false end
returning id, host, pid, queues, pools;

-- name: unlock_tickets
-- The unlock wakes nobody, so graphile-worker's own channel is used to say that there is work.
select graphile_worker.force_unlock_workers(:pools::text[]), pg_notify('jobs:insert', '{"r":0,"count":50}');

-- name: jobs_of
select id, attempt from :"live" where status = 'processing' and locked_by = :worker;

-- name: leave_fleet
delete from workers where id = :id;
