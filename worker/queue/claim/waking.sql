-- Of which queues a worker is notified when jobs are inserted. See add_tickets in migrations/0003_tickets.sql.

-- name: notify_of
update workers set notify = pg_catalog.array_append(pg_catalog.array_remove(notify, :queue), :queue)
 where id = :worker
returning id;

-- name: commits_wait
-- Whether a commit with a NOTIFY waits for another: each locks the object that stands for all databases until it is on
-- the disk (PreCommit_Notify in Postgres's async.c).
select exists (select from pg_locks
                where locktype = 'object' and classid = 'pg_database'::regclass::oid and objid = 0::oid
                  and not granted) as found;

-- name: notify_no_more
update workers set notify = pg_catalog.array_remove(notify, :queue)
 where id = :worker and :queue = any(notify);
