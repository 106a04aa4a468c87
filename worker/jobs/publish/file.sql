-- name: load_file
select id::text, source_key, deleted_at from auction_files where id operator(pg_catalog.=) auction_file_id(:id);

-- name: save_variants
-- Not if the file was deleted, or got another original, while its pictures were being made.
update auction_files
   set width = :width, height = :height, bytes = :bytes,
       display_url = :display_url, display_width = :display_width, display_height = :display_height,
       display_bytes = :display_bytes,
       thumb_url = :thumb_url, thumb_width = :thumb_width, thumb_height = :thumb_height, thumb_bytes = :thumb_bytes,
       published_at = clock_timestamp()
 where id operator(pg_catalog.=) auction_file_id(:id) and source_key = :source_key and deleted_at is null
returning id;
