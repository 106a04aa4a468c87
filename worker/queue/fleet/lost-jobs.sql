-- name: jobs_of
-- A locked row does not make the others wait: the reconciler retries it later.
select id, attempt from :"live" where status = 'processing' and locked_by = :worker for update skip locked;
