-- name: add_file
insert into auction_files (source_key) values (:source_key) returning id::text;

-- name: add_job
insert into publish_jobs (file_id, max_retries, dedupe_key) values (:file_id, 1, :source_key) returning id;
