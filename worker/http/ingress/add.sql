-- The statement of add.ts.

-- name: jobs_of_ids
select id, queue, kind, payload, file_id from jobs where id = any(:ids::bigint[]);
