-- Objects in storage that no row refers to. What `find_orphans` calls an orphan is deleted, if it still is one a day later: an object that some other
-- table of yours refers to must be named here, and in `in_use`.

-- name: known_prefixes
-- Nothing else in the bucket is ever looked at.
select pg_catalog.unnest(array['uploads/', 'processed/', 'stories/', 'temp/']) as prefix;

-- name: references
-- Tables that are never empty where this is the right database.
select 'media_objects' as name, exists (select from media_objects) as filled;

-- name: find_orphans
-- The files that one media job wrote stand in a folder that ends with a hash, and are in use together: of a stream only the playlist has a row.
with used as materialized (
  select key from media_objects
   union
  select key from temp_files
   union
  select source_key from media where source_key is not null
   union
  select key from storage_deletions
   union
  -- A job that is still to be done, or that a person may run again.
  select pg_catalog.unnest(array[payload ->> 's3Key'::text, payload ->> 'key'::text, ltrim(payload ->> 'inputPath'::text, '/')]) from media_jobs
   where status in ('pending', 'processing', 'failed')
), folders as materialized (
  select substring(key from '^processed/.*-[0-9a-f]{20}/') as folder from used
   union
  select substring(address from 'processed/.*-[0-9a-f]{20}/')
    from media cross join lateral (select url union all select thumbnail_url
                                    union all select pg_catalog.jsonb_path_query(thumbnails, '$[*].key') #>> '{}'::text[]) a (address)
)
update storage_listing l set orphaned = true
 where l.log_id = :log_id and l.modified_at < :cutoff
   and not exists (select from used u where u.key = l.key)
   and not exists (select from folders f where f.folder = substring(l.key from '^processed/.*-[0-9a-f]{20}/'));

-- name: in_use
select key from media_objects where key = any(:keys)
 union all
select key from temp_files where key = any(:keys)
 union all
select source_key from media where source_key = any(:keys)
 union all
select key
  from media_jobs cross join lateral pg_catalog.unnest(array[payload ->> 's3Key'::text, payload ->> 'key'::text, ltrim(payload ->> 'inputPath'::text, '/')]) key
 where status in ('pending', 'processing', 'failed') and key = any(:keys)
 union all
select k.key
  from (select key, substring(key from '^processed/.*-[0-9a-f]{20}/') as folder from pg_catalog.unnest(:keys::text[]) key) k
 where exists (select from media_objects m where m.key >= k.folder and m.key < left(k.folder, -1) || '0');
