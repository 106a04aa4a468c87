-- Objects in storage that no row names. What is one is said by the function object_uses; one is deleted if it still is one a day later.

-- name: known_prefixes
-- Nothing else in the bucket is ever looked at.
select pg_catalog.unnest(array['uploads/', 'processed/', 'stories/', 'temp/']) as prefix;

-- name: references
-- Tables that are never empty where this is the right database.
select 'media_objects' as name, exists (select from media_objects) as filled;
