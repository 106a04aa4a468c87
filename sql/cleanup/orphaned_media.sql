-- Objects in storage that no row names. The function object_uses decides. An object is deleted if it is still orphaned
-- a day later.

-- name: known_prefixes
-- No other prefix in the bucket is ever read.
select pg_catalog.unnest(array['uploads/', 'processed/', 'stories/', 'temp/']) as prefix;

-- name: references
-- Tables that are never empty in the right database.
select 'media_objects' as name, exists (select from media_objects) as filled;
