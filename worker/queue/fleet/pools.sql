-- name: add_pool
update workers set pools = pg_catalog.array_append(pools, :pool) where id = :id returning id;

-- name: drop_pool
update workers set pools = pg_catalog.array_remove(pools, :pool) where id = :id;

-- name: unlock_tickets
-- Unlocking wakes nobody, so the workers are told to claim.
select :"tickets".force_unlock_workers(:pools::text[]),
       (select count(pg_notify(:channel, 'soon ' || q)) from pg_catalog.unnest(:queues::text[]) q
         where pg_notification_queue_usage() < 0.9::float8) as told;
