-- Which transactions were in progress at some time, and which of them still are.

-- name: next_transaction
-- An id above those of all transactions that have one. The xmax of a snapshot is not: it is above those that have
-- ended, and a snapshot does not list who is in progress beyond its xmax. Once this statement has ended, the xmax of
-- every snapshot is above this id.
select pg_current_xact_id()::text as id;

-- name: in_progress_below
select x.id::text as id
  from pg_snapshot_xip(pg_current_snapshot()) as x (id)
 where x.id < :below::text::xid8;

-- name: in_progress_among
select x.id::text as id
  from pg_snapshot_xip(pg_current_snapshot()) as x (id)
 where x.id = any(:ids::text[]::xid8[]);
