-- The statements of ledger.ts. See migrations/0019_bridges.sql.

-- name: unacked
-- A younger row may belong to a bridge that waits for the answer of RabbitMQ.
select id, fingerprints, created_at < clock_timestamp() - interval '2 seconds' as settled
  from bridge_unacked
 order by id;

-- name: keep_unacked
update bridge_unacked set fingerprints = :fingerprints::bytea[] where id = :id;

-- name: add_unacked
-- A bridge that is frozen in its transaction: Postgres ends the transaction before RabbitMQ, which waits two heartbeats
-- of ten seconds, gives the messages to another.
insert into bridge_unacked (fingerprints)
select :fingerprints::bytea[]
 where pg_catalog.set_config('idle_in_transaction_session_timeout', '12000', true) is not null
returning id;

-- name: delete_unacked
delete from bridge_unacked where id = any(:ids::bigint[]);

-- name: forget_unacked
-- Of bridges that died after the acknowledgement, and before they deleted the row.
delete from bridge_unacked where created_at < :before::timestamptz;
