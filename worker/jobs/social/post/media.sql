-- name: result_of_job
select status, result from jobs where id = :id;
