-- name: try_1
SELECT status, count(*) FROM publish_jobs GROUP BY status;

-- name: try_2
SELECT id, attempt, error_code FROM publish_jobs
 WHERE status = 'failed' ORDER BY id DESC LIMIT 3;

-- name: try_3
SELECT count(*) AS files, sum(bytes) AS originals, sum(display_bytes) AS published
  FROM auction_files WHERE publish_status = 'published';
