-- The statement of bridge.ts.

-- name: reach_postgres
select 1 as reached;
