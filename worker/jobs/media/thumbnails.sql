-- name: load_media
-- The keys of its thumbnails, whoever made them, and whatever they look like.
select id::text, source_key, deleted_at is not null as deleted,
       jsonb_path_query_array(thumbnails, '$[*].key ? (@.type() == "string")') as thumbnail_keys
  from media
 where id operator(pg_catalog.=) media_id(:id);

-- name: save_thumbnails
-- Not if the row was deleted, or got another original, while the job ran.
update media
   set thumbnails = :thumbnails, processed_at = clock_timestamp()
 where id operator(pg_catalog.=) media_id(:id) and source_key is not distinct from :source_key and deleted_at is null
returning id;

-- name: tell_messages
select on_media_processed(:kind, :payload, :result);
