-- How far are the files? One row a publish_status; every row but `published` is work to be done. Reads all of auction_files.
SELECT publish_status, COUNT(*)
FROM auction_files
WHERE deleted_at IS NULL
GROUP BY publish_status;
