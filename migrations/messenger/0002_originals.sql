-- The original of a media job is in use, also where its payload calls it `inputPath` or `key`, as those of media.transcode and media.thumbnails may.
--
-- Locks: none. Undo: make the function again as 0001 has it.

create or replace function media_objects_of(payload jsonb, result jsonb) returns table (key text, bytes bigint, message_id uuid)
  language sql stable
  set search_path from current
as $$
  with objects as (
    select coalesce(payload ->> 's3Key', ltrim(payload ->> 'inputPath', '/'), payload ->> 'key') as key, null::numeric as bytes
    union all
    select o ->> 'key', case jsonb_typeof(o -> 'bytes') when 'number' then (o ->> 'bytes')::numeric end
      from jsonb_path_query(result, 'lax $.**') o
     where jsonb_typeof(o) = 'object' and jsonb_typeof(o -> 'key') = 'string'
  )
  select o.key, coalesce(max(o.bytes), 0)::bigint, m.id
    from objects o
    left join messages m on m.id = case when payload ->> 'messageId' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                                        then (payload ->> 'messageId')::uuid end
   where o.key is not null
   group by o.key, m.id
$$;

insert into media_objects (key, bytes, message_id)
select distinct o.key, o.bytes, o.message_id
  from media_jobs j cross join lateral media_objects_of(j.payload, j.result) o
 where j.status = 'completed' and j.result is not null and j.payload ->> 's3Key' is null
   and o.key in (ltrim(j.payload ->> 'inputPath', '/'), j.payload ->> 'key')
   and not exists (select from media_objects m where m.key = o.key);
