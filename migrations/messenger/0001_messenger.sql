-- The messenger's tables, for the cleanup jobs of a messenger. Applied only by `rowmill migrate --with messenger`. If
-- you have tables of your own, edit the statements in sql/cleanup/ instead.
--
-- An object in storage is in use as long as a row here names it: by its key in media_objects or temp_files, or by a URL
-- of a message or a story.
-- - When a row of media_objects is deleted, or loses its last owner, or a temporary file is deleted, a trigger inserts
--   the object's key into storage_deletions, whoever made the change.
-- - An object that only a URL named is found and deleted by cleanup.orphaned_media.
-- - The outputs of media jobs get their rows in media_objects from a trigger here, uploads get theirs from the
--   application. Each cleanup walks along an index on a time.
--
-- Locks: creates only, except for a trigger on media_jobs. Undo: drop everything named here.

create table users (
  id              uuid        primary key default gen_random_uuid(),
  name            text,
  active_stories  integer     not null default 0,
  expired_stories integer     not null default 0,
  created_at      timestamptz not null default now()
);
comment on table  users is 'The people who use the messenger.';
comment on column users.active_stories is 'The application counts it up, cleanup.stories counts it down.';
comment on column users.expired_stories is 'cleanup.stories counts it up.';

create table devices (
  id             uuid        primary key default gen_random_uuid(),
  user_id        uuid        not null references users (id) on delete cascade,
  status         text        not null default 'active' check (status in ('active', 'inactive')),
  fcm_token      text,
  identity_key   bytea       check (octet_length(identity_key) in (32, 33)),
  next_prekey_id integer     not null default 1 check (next_prekey_id between 1 and 16777216),
  last_seen_at   timestamptz not null default now(),
  created_at     timestamptz not null default now()
);
create index on devices (user_id);
comment on table  devices is 'The phones and browsers of a user.';
comment on column devices.status is
  'inactive once cleanup.sessions deleted its last session. The application sets it active when somebody signs in on '
  'it.';
comment on column devices.last_seen_at is
  'The application sets it when somebody signs in. A device that was seen lately stays active.';
comment on column devices.identity_key is
  'The public half, X25519: 32 bytes, or 33 as Signal writes them, with 05 in front. Null: nothing can be sealed for '
  'this device.';
comment on column devices.next_prekey_id is 'Smaller ids were used already. 16777216: all ids were.';

create table sessions (
  id             uuid        primary key default gen_random_uuid(),
  user_id        uuid        not null references users (id) on delete cascade,
  device_id      uuid        not null references devices (id) on delete cascade,
  last_active_at timestamptz not null default now(),
  created_at     timestamptz not null default now()
);
create index on sessions (last_active_at);
create index on sessions (device_id);
create index on sessions (user_id);
comment on table sessions is 'Who is signed in on which device.';

create table session_tokens (
  id         uuid        primary key default gen_random_uuid(),
  session_id uuid        not null references sessions (id) on delete cascade,
  token_hash bytea       not null,
  created_at timestamptz not null default now()
);
create index on session_tokens (session_id);
comment on table session_tokens is 'The refresh tokens of a session. They are deleted with it.';

create table messages (
  id               uuid        primary key default gen_random_uuid(),
  chat_id          uuid,
  sender_id        uuid        references users (id) on delete set null,
  body             text,
  media_type       text,
  media_url        text,
  thumbnail_url    text,
  waveform         jsonb,
  metadata         jsonb,
  pinned           boolean     not null default false,
  legal_hold       boolean     not null default false,
  processed_at     timestamptz,
  media_removed_at timestamptz,
  created_at       timestamptz not null default now()
);
create index on messages (sender_id);
create index messages_with_media on messages (created_at)
  where media_type is not null and media_removed_at is null and not pinned and not legal_hold;
create index messages_kept on messages (created_at)
  where media_type is not null and media_removed_at is null and (pinned or legal_hold);
create index messages_addresses on messages
 using gin (object_names(array[media_url, thumbnail_url])) with (fastupdate = off)
 where pg_catalog.num_nonnulls(media_url, thumbnail_url) > 0;
comment on table  messages is 'Messages, with at most one picture, video or sound each.';
comment on column messages.media_type is 'image, video or audio; null: only text.';
comment on column messages.media_removed_at is 'When cleanup.messages removed its media.';

create table stories (
  id            uuid        primary key default gen_random_uuid(),
  user_id       uuid        not null references users (id) on delete cascade,
  caption       text,
  media_url     text,
  thumbnail_url text,
  created_at    timestamptz not null default now(),
  deleted_at    timestamptz
);
create index on stories (user_id);
create index stories_alive on stories (created_at) where deleted_at is null;
create index stories_addresses on stories
 using gin (object_names(array[media_url, thumbnail_url])) with (fastupdate = off)
 where pg_catalog.num_nonnulls(media_url, thumbnail_url) > 0;
comment on table  stories is 'Pictures and videos that are shown for a day.';
comment on column stories.deleted_at is 'Soft deletion. The story''s objects are released when it is set.';

create table temp_files (
  id         uuid        primary key default gen_random_uuid(),
  key        text        collate "C" not null,
  bytes      bigint      not null default 0,
  created_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index on temp_files (key);
create index temp_files_alive   on temp_files (created_at) where deleted_at is null;
create index temp_files_deleted on temp_files (deleted_at) where deleted_at is not null;
comment on table  temp_files is 'Objects that are needed for a day at most, such as unfinished uploads.';
comment on column temp_files.deleted_at is
  'Nobody may use the object from then on. The row is deleted after its object.';

create table media_objects (
  id         bigint      generated always as identity primary key,
  key        text        collate "C" not null,
  bytes      bigint      not null default 0,
  message_id uuid        references messages (id) on delete set null,
  story_id   uuid        references stories (id) on delete set null,
  created_at timestamptz not null default now()
);
create index on media_objects (key);
create index on media_objects (message_id) where message_id is not null;
create index on media_objects (story_id) where story_id is not null;
comment on table  media_objects is
  'Which message or story uses which object in storage. An object that several use, such as a forwarded picture, has '
  'several rows, or one that names a message and a story. It is deleted after the last.';
comment on column media_objects.key is
  'The key of an object. With a slash at the end, of a folder: all objects in it.';
comment on column media_objects.bytes is 'The size; 0: not known.';


-- Which rows use an object --------------------------------------------------------------------------------------------

create trigger keep_object before insert or update of key on media_objects
  for each row execute function keep_object('key');
create trigger keep_object before insert or update of key on temp_files
  for each row execute function keep_object('key');

create or replace function messenger_object_uses(keys text[])
  returns table (key text, used_by text, id text, keeps boolean)
  language sql stable
  set search_path from current
  set enable_seqscan = off
  set enable_bitmapscan = on
  set enable_hashjoin = on
  set jit = off
as $$
  with units as materialized (select u.key, u.unit, u.below from object_units(keys) u)
  select u.key, 'media_objects'::text, o.id::text, true
    from units u
    join media_objects o on o.key >= u.unit and o.key < u.below
   union all
  select u.key, 'temp_files', t.id::text, t.deleted_at is null
    from units u
    join temp_files t on t.key >= u.unit and t.key < u.below
   union all
  select u.key, 'messages', m.id::text, true
    from messages m
   cross join lateral pg_catalog.unnest(object_names(array[m.media_url, m.thumbnail_url])) n (name)
    join units u on u.unit = n.name
   where pg_catalog.num_nonnulls(m.media_url, m.thumbnail_url) > 0
     and object_names(array[m.media_url, m.thumbnail_url]) operator(pg_catalog.&&) array(select unit from units)
   union all
  select u.key, 'stories', s.id::text, s.deleted_at is null
    from stories s
   cross join lateral pg_catalog.unnest(object_names(array[s.media_url, s.thumbnail_url])) n (name)
    join units u on u.unit = n.name
   where pg_catalog.num_nonnulls(s.media_url, s.thumbnail_url) > 0
     and object_names(array[s.media_url, s.thumbnail_url]) operator(pg_catalog.&&) array(select unit from units)
$$;
comment on function messenger_object_uses is
  'Rows of the messenger''s tables that name one of the objects, as in object_uses.';


-- Who releases an object ----------------------------------------------------------------------------------------------
--
-- By row triggers. Two cleanups may each remove one of the two owners of a row at the same time: Postgres shows the
-- second the row as the first left it, so the second sees that no owner is left.

create function object_released() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if tg_relid not in ('media_objects'::regclass::oid, 'temp_files'::regclass::oid) then
    raise exception 'table % names no objects of the messenger', tg_relid::regclass
      using errcode = 'insufficient_privilege';
  end if;
  insert into storage_deletions (key, bytes, reason) values (old.key, old.bytes, tg_table_name);
  return null;
end $$;
comment on function object_released is
  'The object of a row that is deleted is deleted after it, whoever deletes the row.';

create trigger object_released after delete on media_objects
  for each row execute function object_released();
create trigger object_released after delete on temp_files
  for each row when (old.deleted_at is null) execute function object_released();
create trigger object_released_softly after update on temp_files
  for each row when (old.deleted_at is null and new.deleted_at is not null) execute function object_released();

create function media_object_ownerless() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if tg_relid <> 'media_objects'::regclass::oid then
    raise exception 'table % is not media_objects', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  delete from media_objects where id = new.id;
  return null;
end $$;
comment on function media_object_ownerless is 'Deletes a row that has lost its last owner.';

create trigger media_object_ownerless after update on media_objects
  for each row when (pg_catalog.num_nonnulls(new.message_id, new.story_id) = 0
                     and pg_catalog.num_nonnulls(old.message_id, old.story_id) > 0)
  execute function media_object_ownerless();

create function story_deleted() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
begin
  if tg_relid <> 'stories'::regclass::oid then
    raise exception 'table % is not stories', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  update media_objects set story_id = null where story_id = new.id;
  return null;
end $$;
comment on function story_deleted is 'A deleted story owns no object.';

create trigger story_deleted after update on stories
  for each row when (new.deleted_at is not null) execute function story_deleted();


-- What media jobs wrote -----------------------------------------------------------------------------------------------
--
-- The objects that a media job wrote, and the original that it read, belong to the message that the job names. A result
-- names an object as {"key": ..., "bytes": ...}, anywhere in it. A playlist or a storyboard names files that the result
-- does not, so then the whole folder belongs to the message.

create function media_objects_of(payload jsonb, result jsonb) returns table (key text, bytes bigint, message_id uuid)
  language sql stable
  set search_path from current
as $$
  with objects as (
    select coalesce(payload ->> 's3Key'::text, ltrim(payload ->> 'inputPath'::text, '/'),
                    payload ->> 'key'::text) as key,
           null::numeric as bytes
    union all
    select o ->> 'key'::text,
           case jsonb_typeof(o -> 'bytes'::text) when 'number' then (o ->> 'bytes'::text)::numeric end
      from jsonb_path_query(result, 'lax $.**') o
     where jsonb_typeof(o) = 'object' and jsonb_typeof(o -> 'key'::text) = 'string'
  ), named as (
    select o.key, o.bytes from objects o
    union all
    select substring(o.key from '^processed/.*-[0-9a-f]{20}/'), null
      from objects o
     where result::text ~ '[.](m3u8|mpd|vtt)["?]'
  )
  select o.key, coalesce(max(o.bytes), 0)::bigint, m.id
    from named o
    left join messages m
      on m.id = case when payload ->> 'messageId'::text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                     then (payload ->> 'messageId'::text)::uuid end
   where o.key is not null
   group by o.key, m.id
$$;
comment on function media_objects_of is
  'The objects that a media job read and wrote, and the message that they belong to.';

create function media_objects_follow() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  insert into media_objects (key, bytes, message_id)
  select o.key, o.bytes, o.message_id from media_objects_of(new.payload, new.result) o
   where not exists (select from media_objects m
                      where m.key = o.key and m.message_id is not distinct from o.message_id);
  -- The message has media again, after cleanup.messages removed them: it is to remove these, too.
  update messages m set media_removed_at = null
    from media_objects_of(new.payload, new.result) o
   where m.id = o.message_id and m.media_removed_at is not null;
  return null;
end $$;
comment on function media_objects_follow is 'Inserts what a completed media job wrote into media_objects.';

create trigger media_objects_follow after update on media_jobs
  for each row when (new.status = 'completed' and old.status <> 'completed' and new.result is not null)
  execute function media_objects_follow();

insert into media_objects (key, bytes, message_id)
select distinct o.key, o.bytes, o.message_id
  from media_jobs j cross join lateral media_objects_of(j.payload, j.result) o
 where j.status = 'completed' and j.result is not null;


-- Prekeys -------------------------------------------------------------------------------------------------------------

create table prekeys (
  device_id          uuid        not null references devices (id) on delete cascade,
  prekey_id          integer     not null check (prekey_id between 1 and 16777215),
  public_key         bytea       not null check (octet_length(public_key) = 33 and get_byte(public_key, 0) = 5),
  sealed_private_key bytea       check (octet_length(sealed_private_key) = 80),
  created_at         timestamptz not null default now(),
  used_at            timestamptz,
  collected_at       timestamptz,
  primary key (device_id, prekey_id)
);
create index prekeys_unused on prekeys (device_id) where used_at is null;
create index prekeys_used   on prekeys (used_at)   where used_at is not null;
comment on table  prekeys is 'One-time prekeys. Each is given to one sender: used_at.';
comment on column prekeys.public_key is 'X25519, as Signal writes it: 05 and 32 bytes.';
comment on column prekeys.sealed_private_key is
  'libsodium''s sealed box of the 32 private bytes, which only the device''s identity key opens. Null: the device made '
  'the pair, or has collected it.';

create table prekey_refill_requests (
  id           bigint      generated always as identity primary key,
  device_id    uuid        not null references devices (id) on delete cascade,
  missing      integer     not null,
  reason       text        not null
               check (reason in ('request_mode', 'no_identity_key', 'bad_identity_key', 'ids_used_up')),
  requested_at timestamptz not null default now(),
  fulfilled_at timestamptz
);
create unique index prekey_refill_requests_open on prekey_refill_requests (device_id) where fulfilled_at is null;
create index prekey_refill_requests_fulfilled on prekey_refill_requests (fulfilled_at) where fulfilled_at is not null;
comment on table  prekey_refill_requests is 'Devices that have to make prekeys themselves and upload them.';
comment on column prekey_refill_requests.fulfilled_at is 'When cleanup.prekeys found enough of them.';

create function prekey_ids_follow() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if tg_relid <> 'prekeys'::regclass::oid then
    raise exception 'table % holds no prekeys', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  update devices d set next_prekey_id = n.next
    from (select device_id, max(prekey_id) + 1 as next from fresh group by device_id) n
   where d.id = n.device_id and d.next_prekey_id < n.next;
  return null;
end $$;
comment on function prekey_ids_follow is
  'Raises devices.next_prekey_id, whoever inserts prekeys: an id that was used is not given out again after its row '
  'was deleted.';

create trigger prekey_ids_follow after insert on prekeys referencing new table as fresh
  for each statement execute function prekey_ids_follow();

create function collect_prekeys(device uuid)
  returns table (prekey_id integer, public_key bytea, sealed_private_key bytea)
  language sql
  set search_path from current
as $$
  with sealed as materialized (
    select p.prekey_id, p.public_key, p.sealed_private_key from prekeys p
     where p.device_id = device and p.sealed_private_key is not null
     order by p.prekey_id for update
  ), collected as (
    update prekeys p set sealed_private_key = null, collected_at = clock_timestamp()
     where p.device_id = device and p.prekey_id = any(array(select s.prekey_id from sealed s))
  )
  select * from sealed
$$;
comment on function collect_prekeys is
  'Returns the pairs that were made for a device, once: the sealed halves are deleted. Call it in the transaction in '
  'which the device confirms that it has them.';

update schedules set enabled = true
 where name in ('cleanup.stories', 'cleanup.sessions', 'cleanup.messages', 'cleanup.temp_files', 'cleanup.prekeys',
                'cleanup.orphaned_media', 'cleanup.storage_deletions');
