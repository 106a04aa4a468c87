-- Of which queues a worker is notified when jobs are inserted. See add_tickets in migrations/0003_tickets.sql.

-- name: notify_of
update workers set notify = pg_catalog.array_append(pg_catalog.array_remove(notify, :queue), :queue)
 where id = :worker
returning id;

-- name: notify_no_more
update workers set notify = pg_catalog.array_remove(notify, :queue)
 where id = :worker and :queue = any(notify);
