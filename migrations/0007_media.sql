-- What media jobs write: columns of media, and the seam to the messages of the user's own application.
--
-- 1. media gets the columns that its jobs read and write, where it lacks them.
-- 2. on_media_processed is called in the transaction that completes a media job. Its default writes to a table `messages`, where there is one,
--    those of the columns media_url, thumbnail_url, waveform, metadata, processed_at that it has. Replace it to do otherwise.
-- 3. A media job whose payload names its media row, as the messages of the media worker do ({"mediaId": "..."}), is a job about that file: its
--    file_id is filled in, so that media.status follows it like any other. The row of media that comes later than its job is found by the
--    job's handler, which names it on the row. A mediaId that can be no id, or that no row has, is left as it is: the handler says so.
-- 4. Deleting jobs finds their keys and errors by index, also while the statistics say that there are none.
--
-- Locks: a short ACCESS EXCLUSIVE on media for the new columns; a short SHARE ROW EXCLUSIVE on media_jobs. Undo: drop the functions, the trigger
-- and the columns.

alter table media
  add column if not exists source_key    text,
  add column if not exists url           text,
  add column if not exists thumbnail_url text,
  add column if not exists thumbnails    jsonb,
  add column if not exists metadata      jsonb,
  add column if not exists processed_at  timestamptz;
comment on column media.source_key is 'The key of the original in storage.';
comment on column media.url is 'The processed file.';
comment on column media.thumbnails is 'One object a size: url, key, width, height, bytes, format.';
comment on column media.metadata is 'What was measured of the original.';

-- A message that is not there, or whose id could be none, is no error: it may have been deleted meanwhile.
create function on_media_processed(kind text, payload jsonb, result jsonb) returns void
  language plpgsql
  set search_path from current
as $$
declare
  message  text     := payload ->> 'messageId'::text;
  messages regclass := to_regclass('messages');
  keeper   oid      := (select c.relowner from pg_class c where c.oid = messages::oid);
  id_type  text     := (select format_type(atttypid, atttypmod) from pg_attribute where attrelid = messages::oid and attname = 'id' and not attisdropped);
  changes  text;
begin
  if message is null or id_type is null then
    return;
  end if;
  -- Its triggers, and the checks of its types, run as us.
  if not pg_has_role(keeper, current_user, 'member') then
    raise exception 'table messages belongs to %, whose triggers would have the rights of %', keeper::regrole, current_user
      using errcode = 'insufficient_privilege', hint = pg_catalog.format('Grant %s to %s, or replace on_media_processed.', current_user, keeper::regrole);
  end if;
  begin
    execute pg_catalog.format('select %L::%s', message, id_type);
  exception
    when invalid_text_representation or numeric_value_out_of_range then
      return;
  end;
  -- Each value as its column takes it: as JSON, as an array, or as text.
  select string_agg(pg_catalog.format('%I = ', a.attname) ||
                    case when a.atttypid in ('json'::regtype::oid, 'jsonb'::regtype::oid) then pg_catalog.format('$1 -> %L::text', w.key)
                         when t.typcategory = 'A' then pg_catalog.format('array(select jsonb_array_elements_text($1 -> %L::text))::%s', w.key, a.atttypid::regtype)
                         else pg_catalog.format('$1 ->> %L::text', w.key) end, ', ')
    into changes
    from (values ('media_url',     'url'),
                 ('thumbnail_url', 'thumbnail_url'),
                 ('waveform',      'waveform'),
                 ('metadata',      'metadata')) w (attname, key)
    join pg_attribute a on a.attrelid = messages::oid and a.attname = w.attname::name and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
   where jsonb_typeof(result -> w.key) <> 'null';
  if exists (select from pg_attribute where attrelid = messages::oid and attname = 'processed_at' and not attisdropped) then
    changes := pg_catalog.concat_ws(', ', changes, 'processed_at = clock_timestamp()');
  end if;
  if changes is not null then
    -- As a literal of no type the id becomes what the column is, be it uuid, bigint or text.
    execute pg_catalog.format('update messages set %s where id = %L', changes, message) using result;
  end if;
end $$;
comment on function on_media_processed is 'Called when a media job completes, in its transaction. The default updates messages, where there is such a table. Yours to replace.';

create function media_job_file() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  select id::text into new.file_id from media where id operator(pg_catalog.=) media_id(new.payload ->> 'mediaId'::text);
  return new;
end $$;
comment on function media_job_file is 'Fills in the file_id of a media job from the mediaId of its payload.';

create trigger media_job_file before insert on media_jobs
  for each row when (new.file_id is null and new.payload ? 'mediaId'::text and not new.archived)
  execute function media_job_file();

alter function jobs_deleted() set enable_seqscan = off;
alter function jobs_deleted() set jit = off;
