-- The files that jobs are about: auction_files for the publish queue, media for the media queue. Both usually exist already in
-- the user's database; then only the columns that the worker writes are added. Their status follows the job's row by trigger,
-- so that no code path can forget it.
-- A status column may be an enum of the user's, if it has these values. A media table whose id is no uuid (Prisma's may be text) is left
-- alone: file_id cannot name its rows.
-- Locks: where the tables exist, a short exclusive lock for the new columns; the foreign keys check jobs, which are few at this point.
-- Undo: drop the two triggers, the functions, and what columns or tables were made.

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

-- History outlives the file it was about.
alter table publish_jobs add foreign key (file_id) references auction_files (id) on delete set null;
create index on publish_jobs (file_id) where file_id is not null;

create function publish_status_follows() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
declare
  file    uuid := case tg_op when 'DELETE' then old.file_id else new.file_id end;
  latest  text := (select j.status from publish_jobs j where j.file_id = file and j.status <> 'cancelled' order by j.id desc limit 1);
  follows auction_files.publish_status%type := case
    when latest = 'completed'                                              then 'published'
    when latest is not null                                                then latest
    when (select published_at is not null from auction_files where id = file) then 'published'
    else                                                                        'pending'
  end;
begin
  update auction_files set publish_status = follows where id = file and publish_status is distinct from follows;
  return null;
end $$;
comment on function publish_status_follows is 'auction_files.publish_status is the status of the file''s latest publish job. Cancelled jobs do not count.';

create function media_status_follows() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
declare
  file    uuid := case tg_op when 'DELETE' then old.file_id else new.file_id end;
  latest  text := (select j.status from media_jobs j where j.file_id = file and j.status <> 'cancelled' order by j.id desc limit 1);
  follows media.status%type := case
    when latest = 'completed' then 'READY'
    when latest is not null   then upper(latest)
    else (select case when status::text in ('READY', 'FAILED') then status::text else 'PENDING' end from media where id = file)
  end;
begin
  update media set status = follows where id = file and status is distinct from follows;
  return null;
end $$;
comment on function media_status_follows is 'media.status is the status of the file''s latest media job. Cancelled jobs do not count.';

-- A job that moves between the leaves is deleted here and inserted there: on the way to the archive nothing changed.
create trigger publish_status_insert after insert on publish_jobs
  for each row when (new.file_id is not null and not new.archived) execute function publish_status_follows();
create trigger publish_status_update after update on publish_jobs
  for each row when (new.file_id is not null and new.status <> old.status) execute function publish_status_follows();
create trigger publish_status_delete after delete on publish_jobs
  for each row when (old.file_id is not null and old.status in ('pending', 'processing', 'failed')) execute function publish_status_follows();

do $$
begin
  if (select atttypid from pg_attribute where attrelid = 'media'::regclass and attname = 'id') <> 'uuid'::regtype then
    raise notice 'media.id is no uuid: media jobs do not move media.status';
    return;
  end if;
  alter table media_jobs add foreign key (file_id) references media (id) on delete set null;
  create index on media_jobs (file_id) where file_id is not null;
  create trigger media_status_insert after insert on media_jobs
    for each row when (new.file_id is not null and not new.archived) execute function media_status_follows();
  create trigger media_status_update after update on media_jobs
    for each row when (new.file_id is not null and new.status <> old.status) execute function media_status_follows();
  create trigger media_status_delete after delete on media_jobs
    for each row when (old.file_id is not null and old.status in ('pending', 'processing', 'failed')) execute function media_status_follows();
end $$;
