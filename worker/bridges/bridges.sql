-- The statement of bridges.ts.

-- name: tell_bridges
update workers set bridges = :bridges where id = :id;
