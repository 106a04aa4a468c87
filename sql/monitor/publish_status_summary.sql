-- How many files are published? One row for each publish_status. Files that are not `published` are work to do. Reads
-- the whole table auction_files.
SELECT publish_status, COUNT(*)
FROM auction_files
WHERE deleted_at IS NULL
GROUP BY publish_status;
