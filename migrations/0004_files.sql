-- The files that jobs are about: auction_files for the publish queue, media for the media queue. Both usually exist already in
-- the user's database; then only the columns that the worker writes are added. Their status follows the job's row by trigger,
-- so that no code path can forget it. A status column may be an enum of the user's, if it has these values.
--
-- The ids of either table may be uuid, text or varchar (as Prisma makes them), bigint or integer; jobs.file_id is their text, as Postgres writes it:
-- `on f.id::text = j.file_id`. One column of all queues has one type, and a foreign key wants the same on both of its sides. A
-- generated column of text beside each id could be referred to, but would rewrite the user's table and show in its `select *`. So triggers do what a
-- foreign key would:
--
--   a job of a file that is not there is refused, with foreign_key_violation          publish_status_follows, media_status_follows
--   the file is locked while its job is inserted, so that it cannot go meanwhile      the same
--   jobs outlive their file: file_id becomes null when it is deleted or truncated     file_gone
--   the id of a file that jobs name cannot be changed                                 file_gone
--
-- What they don't do: rows that are inserted into the archive by hand are not looked at; a transaction of REPEATABLE READ that deletes a file does not see
-- jobs that came after its snapshot, so these keep the id, and end as file_not_found; and DROP TABLE is not refused.
--
-- Locks: where the tables exist, ACCESS EXCLUSIVE until the migration is committed. Undo: drop the triggers, the functions, and what columns or
-- tables were made.

do $$
begin
  if to_regclass('auction_files') is null then
    create table auction_files (
      id         uuid primary key default gen_random_uuid(),
      created_at timestamptz not null default now()
    );
    alter table auction_files enable row level security;
    comment on table auction_files is 'Files of auction lots. The publish queue makes their public pictures.';
  end if;
  if to_regclass('media') is null then
    create table media (
      id         uuid primary key default gen_random_uuid(),
      created_at timestamptz not null default now()
    );
    alter table media enable row level security;
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
  add column if not exists deleted_at     timestamptz;
comment on column auction_files.source_key is 'The key of the original on RAID.';
comment on column auction_files.publish_status is 'Follows the file''s publish job.';
comment on column auction_files.width is 'Of the original, upright, in pixels.';
comment on column auction_files.bytes is 'Of the original.';
comment on column auction_files.display_url is 'WebP, 1600 pixels wide at most.';
comment on column auction_files.thumb_url is 'WebP, 400 pixels wide at most.';
comment on column auction_files.deleted_at is 'Soft deletion: jobs of a deleted file publish nothing.';

alter table media
  add column if not exists status     text not null default 'PENDING'
      check (status in ('PENDING', 'PROCESSING', 'READY', 'FAILED')),
  add column if not exists deleted_at timestamptz;
comment on column media.status is 'Follows the file''s media job.';

-- The id that a job's file_id stands for, in the type that ids of the table have; null where the text can be none. `shape` is what
-- that type looks like as Postgres writes it.
do $$
declare
  files record;
  shape text;
  id_in text;
begin
  for files in
    select t.name, t.queue, t.id_of, format_type(a.atttypid, null) as id_type
      from (values ('auction_files', 'publish', 'auction_file_id'), ('media', 'media', 'media_id')) t (name, queue, id_of)
      join pg_attribute a on a.attrelid = t.name::regclass and a.attname = 'id'
  loop
    shape := case files.id_type when 'uuid'    then '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                                when 'bigint'  then '^(0|-?[1-9][0-9]{0,17})$'
                                when 'integer' then '^(0|-?[1-9][0-9]{0,8})$' end;
    id_in := case files.id_type when 'uuid'    then $e$case when %1$s ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then %1$s::uuid end$e$
                                when 'bigint'  then $e$case when %1$s ~ '^-?[0-9]{1,18}$' then %1$s::bigint end$e$
                                when 'integer' then $e$case when %1$s ~ '^-?[0-9]{1,9}$' then %1$s::integer end$e$
                                else '%1$s' end;
    execute pg_catalog.format('create function %I(file text) returns %s language sql immutable parallel safe as %L',
                   files.id_of, files.id_type, 'select ' || pg_catalog.format(id_in, 'file'));
    execute pg_catalog.format('comment on function %I is %L', files.id_of, 'The id of ' || files.name || ' that a file_id names; null: none can be.');

    if shape is not null then
      -- Without a call: who inserts a job has no right on functions.
      execute pg_catalog.format('create function %I() returns trigger language plpgsql set search_path from current
                        as $f$ begin new.file_id := coalesce((%s)::text, new.file_id); return new; end $f$',
                     files.queue || '_file_id', pg_catalog.format(id_in, 'new.file_id'));
      execute pg_catalog.format('comment on function %I is %L', files.queue || '_file_id', 'Writes a file_id as Postgres would, such as a uuid in small letters.');
      execute pg_catalog.format('create trigger %I before insert on %I for each row when (new.file_id !~ %L) execute function %1$I()',
                     files.queue || '_file_id', files.queue || '_jobs', shape);
    end if;
  end loop;
end $$;

create index on publish_jobs (file_id) where file_id is not null;
create index on media_jobs   (file_id) where file_id is not null;

-- The row of the file is locked before its jobs are looked at: of two that change at once, who comes second sees what the first did. Neither
-- limit nor an order by id alone: for these the planner may read the jobs from the newest on, for each row of a bulk insert.
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
      from auction_files f where f.id operator(pg_catalog.=) auction_file_id(file) and f.id::text = file for no key update;
    if not found then
      continue when file is not distinct from old.file_id;
      raise exception 'there is no file % in auction_files', file
        using errcode = 'foreign_key_violation', detail = pg_catalog.format('Key (file_id)=(%s) is not present in table "auction_files".', file);
    end if;
    latest := (array(select j.status from publish_jobs j where j.file_id = file and j.status <> 'cancelled' order by j.id + 0 desc))[1];
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
comment on function publish_status_follows is 'auction_files.publish_status is the status of the file''s latest publish job. Cancelled jobs do not count. A file that is not there is refused.';

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
    select m.id, m.status into known from media m where m.id operator(pg_catalog.=) media_id(file) and m.id::text = file for no key update;
    if not found then
      continue when file is not distinct from old.file_id;
      raise exception 'there is no file % in media', file
        using errcode = 'foreign_key_violation', detail = pg_catalog.format('Key (file_id)=(%s) is not present in table "media".', file);
    end if;
    latest := (array(select j.status from media_jobs j where j.file_id = file and j.status <> 'cancelled' order by j.id + 0 desc))[1];
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
comment on function media_status_follows is 'media.status is the status of the file''s latest media job. Cancelled jobs do not count. A file that is not there is refused.';

create function files_truncated() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  if tg_argv[0] = 'publish' then
    update auction_files set publish_status = 'pending'   where publish_status::text in ('processing', 'failed') and published_at is null;
    update auction_files set publish_status = 'published' where publish_status::text in ('pending', 'processing', 'failed') and published_at is not null;
  else
    update media set status = 'PENDING' where status::text = 'PROCESSING';
  end if;
  return null;
end $$;
comment on function files_truncated is 'What the deletion of every job of the queue would do to their files.';

create function file_gone() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
begin
  if coalesce(pg_partition_root(tg_relid::regclass)::oid, tg_relid) not in ('auction_files'::regclass::oid, 'media'::regclass::oid) then
    raise exception 'table % holds no files of jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  if tg_op = 'UPDATE' then
    if exists (select from jobs j where j.queue = tg_argv[0] and j.file_id = old.id::text) then
      raise exception 'the id of file % cannot be changed: jobs name it', old.id using errcode = 'foreign_key_violation';
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
comment on function file_gone is 'Jobs outlive the file they are about: its deletion sets their file_id to null. Its id cannot be changed while jobs name it.';

-- A job that moves between the leaves is deleted here and inserted there: on the way to the archive nothing changed.
create trigger publish_status_insert after insert on publish_jobs
  for each row when (new.file_id is not null and not new.archived) execute function publish_status_follows();
create trigger publish_status_update after update on publish_jobs
  for each row when (pg_catalog.num_nonnulls(new.file_id, old.file_id) > 0 and (new.status <> old.status or new.file_id is distinct from old.file_id))
  execute function publish_status_follows();
create trigger publish_status_delete after delete on publish_jobs
  for each row when (old.file_id is not null and old.status in ('pending', 'processing', 'failed')) execute function publish_status_follows();
create trigger publish_status_truncate after truncate on publish_jobs
  for each statement execute function files_truncated('publish');

create trigger media_status_insert after insert on media_jobs
  for each row when (new.file_id is not null and not new.archived) execute function media_status_follows();
create trigger media_status_update after update on media_jobs
  for each row when (pg_catalog.num_nonnulls(new.file_id, old.file_id) > 0 and (new.status <> old.status or new.file_id is distinct from old.file_id))
  execute function media_status_follows();
create trigger media_status_delete after delete on media_jobs
  for each row when (old.file_id is not null and old.status in ('pending', 'processing', 'failed')) execute function media_status_follows();
create trigger media_status_truncate after truncate on media_jobs
  for each statement execute function files_truncated('media');

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
