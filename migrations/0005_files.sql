-- The files that jobs are about: auction_files for the queue publish, media for the queue media.
--
-- Both tables usually exist already in the user's database; then only the columns that the worker writes are added.
-- Their status follows the status of the file's jobs by trigger, so that no code can forget it. A status column may be
-- an enum of the user's, if it has these values.
--
-- The ids of either table may be uuid, text or varchar (as Prisma makes them), bigint or integer. jobs.file_id is their
-- text, as Postgres prints it: `on f.id::text = j.file_id`. A foreign key needs the same type on both sides, and a
-- generated column of text beside each id would rewrite the user's table and show in its `select *`. So triggers do
-- what a foreign key would:
--
--   publish_status_follows, media_status_follows
--             refuse a job of a file that does not exist (foreign_key_violation), and lock the file while its job is
--             inserted, so that it is not deleted meanwhile
--   file_gone
--             jobs outlive their file: its deletion or truncation sets their file_id to null; the id of a file that
--             jobs name cannot be changed
--
-- Three things they do not do: rows that are inserted into the archive by hand are not checked; a REPEATABLE READ
-- transaction that deletes a file does not see jobs that came after its snapshot, so these keep the id and end as
-- file_not_found; DROP TABLE is not refused.
--
-- Locks: where the tables exist, ACCESS EXCLUSIVE until the migration is committed. Undo: drop the triggers, the
-- functions, and the columns or tables that were made.

do $$
begin
  if to_regclass('auction_files') is null then
    create table auction_files (
      id         uuid primary key default gen_random_uuid(),
      created_at timestamptz not null default now()
    );
    comment on table auction_files is 'Files of auction lots. The publish queue makes their public pictures.';
  end if;
  if to_regclass('media') is null then
    create table media (
      id         uuid primary key default gen_random_uuid(),
      created_at timestamptz not null default now()
    );
    comment on table media is 'Uploaded media. The media queue processes them.';
  end if;
end $$;

alter table auction_files
  add column if not exists source_key     text,
  add column if not exists publish_status text not null default 'pending'
      check (publish_status in ('pending', 'processing', 'published', 'failed')),
  add column if not exists width          integer,
  add column if not exists height         integer,
  add column if not exists bytes          bigint,
  add column if not exists thumb_url      text,
  add column if not exists thumb_width    integer,
  add column if not exists thumb_height   integer,
  add column if not exists thumb_bytes    bigint,
  add column if not exists display_url    text,
  add column if not exists display_width  integer,
  add column if not exists display_height integer,
  add column if not exists display_bytes  bigint,
  add column if not exists published_at   timestamptz,
  add column if not exists deleted_at     timestamptz,
  add column if not exists purged_at      timestamptz;
comment on column auction_files.source_key is 'The key of the original on RAID.';
comment on column auction_files.publish_status is 'Follows the status of the file''s publish job.';
comment on column auction_files.width is 'Width of the original, upright, in pixels.';
comment on column auction_files.bytes is 'Size of the original.';
comment on column auction_files.display_url is 'WebP, 1600 pixels wide at most.';
comment on column auction_files.thumb_url is 'WebP, 400 pixels wide at most.';
comment on column auction_files.deleted_at is 'Soft deletion: jobs of a deleted file publish nothing.';
comment on column auction_files.purged_at is
  'Since when its pictures are being deleted from storage. The row is deleted after them, unless the file is '
  'undeleted.';

alter table media
  add column if not exists status        text not null default 'PENDING'
      check (status in ('PENDING', 'PROCESSING', 'READY', 'FAILED')),
  add column if not exists deleted_at    timestamptz,
  add column if not exists source_key    text,
  add column if not exists url           text,
  add column if not exists thumbnail_url text,
  add column if not exists thumbnails    jsonb,
  add column if not exists metadata      jsonb,
  add column if not exists processed_at  timestamptz;
comment on column media.status is 'Follows the status of the file''s media job.';
comment on column media.source_key is 'The key of the original in storage.';
comment on column media.url is 'The processed file.';
comment on column media.thumbnails is 'One object a size: url, key, width, height, bytes, format.';
comment on column media.metadata is 'What was measured of the original.';

create index on publish_jobs (file_id) where file_id is not null;
create index on media_jobs   (file_id) where file_id is not null;


-- From file_id to the file --------------------------------------------------------------------------------------------
--
-- For each table, in the type of its ids: a function from file_id to the id, and a trigger that writes file_id as
-- Postgres would. `shape` is how Postgres prints the type.
do $$
declare
  files record;
  shape text;
  id_in text;
begin
  for files in
    select t.name, t.queue, t.id_of, format_type(a.atttypid, null) as id_type
      from (values ('auction_files', 'publish', 'auction_file_id'),
                   ('media',         'media',   'media_id')) t (name, queue, id_of)
      join pg_attribute a on a.attrelid = t.name::regclass and a.attname = 'id'
  loop
    shape := case files.id_type when 'uuid'    then '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                                when 'bigint'  then '^(0|-?[1-9][0-9]{0,17})$'
                                when 'integer' then '^(0|-?[1-9][0-9]{0,8})$' end;
    id_in := case files.id_type
               when 'uuid'
                 then $e$case when %1$s ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then %1$s::uuid end$e$
               when 'bigint'  then $e$case when %1$s ~ '^-?[0-9]{1,18}$' then %1$s::bigint end$e$
               when 'integer' then $e$case when %1$s ~ '^-?[0-9]{1,9}$' then %1$s::integer end$e$
               else '%1$s' end;
    execute pg_catalog.format('create function %I(file text) returns %s language sql immutable parallel safe as %L',
                   files.id_of, files.id_type, 'select ' || pg_catalog.format(id_in, 'file'));
    execute pg_catalog.format('comment on function %I is %L', files.id_of,
                   'The id of ' || files.name || ' that a file_id names; null: it can be none.');

    if shape is not null then
      -- The expression stands here instead of a call: a role that inserts a job has no right on functions.
      execute pg_catalog.format('create function %I() returns trigger language plpgsql set search_path from current
                        as $f$ begin new.file_id := coalesce((%s)::text, new.file_id); return new; end $f$',
                     files.queue || '_file_id', pg_catalog.format(id_in, 'new.file_id'));
      execute pg_catalog.format('comment on function %I is %L', files.queue || '_file_id',
                     'Writes a file_id as Postgres would, such as a uuid in small letters.');
      execute pg_catalog.format('create trigger %I before insert on %I for each row when (new.file_id !~ %L)
                        execute function %1$I()', files.queue || '_file_id', files.queue || '_jobs', shape);
    end if;
  end loop;
end $$;

-- A row of media that is inserted later than its job is found by the job's handler, which then sets file_id. A mediaId
-- that cannot be an id, or that no row has, is left as it is: the handler reports it.
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
comment on function media_job_file is 'Sets the file_id of a media job from the mediaId of its payload.';

create trigger media_job_file before insert on media_jobs
  for each row when (new.file_id is null and new.payload ? 'mediaId'::text and not new.archived)
  execute function media_job_file();


-- The status of files -------------------------------------------------------------------------------------------------
--
-- The two functions lock the row of the file before they read its jobs: of two transactions that change jobs of one
-- file at once, the second then sees what the first did. They read the jobs without `limit` and without `order by id`
-- alone: with either, the planner may read all jobs from the newest on, for each row of a bulk insert.

create function publish_status_follows() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
declare
  file    text;
  known   record;
  latest  text;
  follows auction_files.publish_status%type;
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  foreach file in array pg_catalog.array_remove(array[nullif(old.file_id, new.file_id), new.file_id], null) loop
    select f.id, f.publish_status, f.published_at into known
      from auction_files f
     where f.id operator(pg_catalog.=) auction_file_id(file) and f.id::text = file
       for no key update;
    if not found then
      continue when file is not distinct from old.file_id;
      raise exception 'there is no file % in auction_files', file
        using errcode = 'foreign_key_violation',
              detail = pg_catalog.format('Key (file_id)=(%s) is not present in table "auction_files".', file);
    end if;
    latest := (array(select j.status from publish_jobs j
                      where j.file_id = file and j.status <> 'cancelled'
                      order by j.id + 0 desc))[1];
    follows := case
      when latest = 'completed'           then 'published'
      when latest is not null             then latest
      when known.published_at is not null then 'published'
      else                                     'pending'
    end;
    if known.publish_status::text is distinct from follows::text then
      update auction_files set publish_status = follows where id operator(pg_catalog.=) known.id;
    end if;
  end loop;
  return null;
end $$;
comment on function publish_status_follows is
  'auction_files.publish_status is the status of the file''s latest publish job. Cancelled jobs do not count. A job of '
  'a file that does not exist is refused.';

create function media_status_follows() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
declare
  file    text;
  known   record;
  latest  text;
  follows media.status%type;
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  foreach file in array pg_catalog.array_remove(array[nullif(old.file_id, new.file_id), new.file_id], null) loop
    select m.id, m.status into known
      from media m
     where m.id operator(pg_catalog.=) media_id(file) and m.id::text = file
       for no key update;
    if not found then
      continue when file is not distinct from old.file_id;
      raise exception 'there is no file % in media', file
        using errcode = 'foreign_key_violation',
              detail = pg_catalog.format('Key (file_id)=(%s) is not present in table "media".', file);
    end if;
    latest := (array(select j.status from media_jobs j
                      where j.file_id = file and j.status <> 'cancelled'
                      order by j.id + 0 desc))[1];
    follows := case
      when latest = 'completed' then 'READY'
      when latest is not null   then upper(latest)
      when known.status::text in ('READY', 'FAILED') then known.status::text
      else 'PENDING'
    end;
    if known.status::text is distinct from follows::text then
      update media set status = follows where id operator(pg_catalog.=) known.id;
    end if;
  end loop;
  return null;
end $$;
comment on function media_status_follows is
  'media.status is the status of the file''s latest media job. Cancelled jobs do not count. A job of a file that does '
  'not exist is refused.';

create function files_truncated() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  if tg_argv[0] = 'publish' then
    update auction_files set publish_status = 'pending'
     where publish_status::text in ('processing', 'failed') and published_at is null;
    update auction_files set publish_status = 'published'
     where publish_status::text in ('pending', 'processing', 'failed') and published_at is not null;
  else
    update media set status = 'PENDING' where status::text = 'PROCESSING';
  end if;
  return null;
end $$;
comment on function files_truncated is 'Does to the files what the deletion of every job of the queue would do.';

-- A job that moves between the leaves is deleted from one and inserted into the other: on the way to the archive its
-- status did not change.
create trigger publish_status_insert after insert on publish_jobs
  for each row when (new.file_id is not null and not new.archived) execute function publish_status_follows();
create trigger publish_status_update after update on publish_jobs
  for each row when (pg_catalog.num_nonnulls(new.file_id, old.file_id) > 0
                     and (new.status <> old.status or new.file_id is distinct from old.file_id))
  execute function publish_status_follows();
create trigger publish_status_delete after delete on publish_jobs
  for each row when (old.file_id is not null and old.status in ('pending', 'processing', 'failed'))
  execute function publish_status_follows();
create trigger publish_status_truncate after truncate on publish_jobs
  for each statement execute function files_truncated('publish');

create trigger media_status_insert after insert on media_jobs
  for each row when (new.file_id is not null and not new.archived) execute function media_status_follows();
create trigger media_status_update after update on media_jobs
  for each row when (pg_catalog.num_nonnulls(new.file_id, old.file_id) > 0
                     and (new.status <> old.status or new.file_id is distinct from old.file_id))
  execute function media_status_follows();
create trigger media_status_delete after delete on media_jobs
  for each row when (old.file_id is not null and old.status in ('pending', 'processing', 'failed'))
  execute function media_status_follows();
create trigger media_status_truncate after truncate on media_jobs
  for each statement execute function files_truncated('media');


-- Files that are deleted ----------------------------------------------------------------------------------------------

create function file_gone() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
begin
  if coalesce(pg_partition_root(tg_relid::regclass)::oid, tg_relid)
     not in ('auction_files'::regclass::oid, 'media'::regclass::oid) then
    raise exception 'table % holds no files of jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  if tg_op = 'UPDATE' then
    if exists (select from jobs j where j.queue = tg_argv[0] and j.file_id = old.id::text) then
      raise exception 'the id of file % cannot be changed: jobs name it', old.id
        using errcode = 'foreign_key_violation';
    end if;
  elsif tg_op = 'TRUNCATE' then
    execute pg_catalog.format('update %I set file_id = null where file_id is not null', tg_argv[0] || '_jobs');
  elsif tg_argv[0] = 'publish' then
    update publish_jobs set file_id = null where file_id = old.id::text;
  else
    update media_jobs set file_id = null where file_id = old.id::text;
  end if;
  return null;
end $$;
comment on function file_gone is
  'Jobs outlive their file: its deletion sets their file_id to null. Its id cannot be changed while jobs name it.';

create trigger file_gone after delete on auction_files
  for each row execute function file_gone('publish');
create trigger file_renamed after update of id on auction_files
  for each row when (new.id is distinct from old.id) execute function file_gone('publish');
create trigger files_gone after truncate on auction_files
  for each statement execute function file_gone('publish');
create trigger file_gone after delete on media
  for each row execute function file_gone('media');
create trigger file_renamed after update of id on media
  for each row when (new.id is distinct from old.id) execute function file_gone('media');
create trigger files_gone after truncate on media
  for each statement execute function file_gone('media');


-- Media that are processed --------------------------------------------------------------------------------------------
--
-- on_media_processed is for the user's own application: it is called in the transaction that completes a media job.
-- Replace it to do anything else. By default it writes to a table `messages`, where one exists, those of the columns
-- media_url, thumbnail_url, waveform, metadata and processed_at that it has. A message that does not exist, or whose id
-- cannot be one, is no error: it may have been deleted meanwhile.
create function on_media_processed(kind text, payload jsonb, result jsonb) returns void
  language plpgsql
  set search_path from current
as $$
declare
  message  text     := payload ->> 'messageId'::text;
  messages regclass := to_regclass('messages');
  keeper   oid      := (select c.relowner from pg_class c where c.oid = messages::oid);
  id_type  text     := (select format_type(atttypid, atttypmod) from pg_attribute
                         where attrelid = messages::oid and attname = 'id' and not attisdropped);
  changes  text;
begin
  if message is null or id_type is null then
    return;
  end if;
  -- The table's triggers, and the checks of its types, run with our rights.
  if not pg_has_role(keeper, current_user, 'member') then
    raise exception 'table messages belongs to %, whose triggers would have the rights of %',
                    keeper::regrole, current_user
      using errcode = 'insufficient_privilege',
            hint = pg_catalog.format('Grant %s to %s, or replace on_media_processed.', current_user, keeper::regrole);
  end if;
  begin
    execute pg_catalog.format('select %L::%s', message, id_type);
  exception
    when invalid_text_representation or numeric_value_out_of_range then
      return;
  end;
  -- Each value in the type of its column: as JSON, as an array, or as text.
  select string_agg(pg_catalog.format('%I = ', a.attname) ||
                    case when a.atttypid in ('json'::regtype::oid, 'jsonb'::regtype::oid)
                           then pg_catalog.format('$1 -> %L::text', w.key)
                         when t.typcategory = 'A'
                           then pg_catalog.format('array(select jsonb_array_elements_text($1 -> %L::text))::%s',
                                                  w.key, a.atttypid::regtype)
                         else pg_catalog.format('$1 ->> %L::text', w.key) end, ', ')
    into changes
    from (values ('media_url',     'url'),
                 ('thumbnail_url', 'thumbnail_url'),
                 ('waveform',      'waveform'),
                 ('metadata',      'metadata')) w (attname, key)
    join pg_attribute a on a.attrelid = messages::oid and a.attname = w.attname::name and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
   where jsonb_typeof(result -> w.key) <> 'null';
  if exists (select from pg_attribute
              where attrelid = messages::oid and attname = 'processed_at' and not attisdropped) then
    changes := pg_catalog.concat_ws(', ', changes, 'processed_at = clock_timestamp()');
  end if;
  if changes is not null then
    -- An untyped literal takes the type of the column, be it uuid, bigint or text.
    execute pg_catalog.format('update messages set %s where id = %L', changes, message) using result;
  end if;
end $$;
comment on function on_media_processed is
  'Called when a media job completes, in its transaction. The default updates the table messages, where one exists. '
  'Replace it to do anything else.';
