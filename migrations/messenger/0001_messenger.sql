-- The messenger's tables, as the cleanup jobs know them: made only when asked, by `rowmill migrate --with messenger`. Who has tables of their own
-- edits the statements in sql/cleanup/ instead.
--
-- Every object in storage that somebody uses has a row in media_objects or temp_files; a URL alone does not keep it. The outputs of media jobs get
-- theirs by a trigger here, uploads get theirs by the application. The indexes on a time are those that the cleanups walk along.
--
-- Locks: creates only, but for a trigger on media_jobs. Undo: drop everything named here.

create table users (
  id              uuid        primary key default gen_random_uuid(),
  name            text,
  active_stories  integer     not null default 0,
  expired_stories integer     not null default 0,
  created_at      timestamptz not null default now()
);
comment on column users.active_stories is 'Counted up by the application, down by cleanup.stories.';
comment on column users.expired_stories is 'Counted up by cleanup.stories.';

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
comment on column devices.status is 'inactive once its last session was deleted; whoever signs in on it sets it active again.';
comment on column devices.last_seen_at is 'Set by the application when somebody signs in: a device that was seen lately stays active.';
comment on column devices.identity_key is 'The public half, X25519: 32 bytes, or 33 as Signal writes them, with 05 in front. Null: nothing can be sealed for this device.';
comment on column devices.next_prekey_id is 'Smaller ones were used already. 16777216: all of them.';

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

create table session_tokens (
  id         uuid        primary key default gen_random_uuid(),
  session_id uuid        not null references sessions (id) on delete cascade,
  token_hash bytea       not null,
  created_at timestamptz not null default now()
);
create index on session_tokens (session_id);
comment on table session_tokens is 'The refresh tokens of a session: they go with it.';

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
comment on column messages.media_type is 'image, video or audio; null: only text.';
comment on column messages.media_removed_at is 'When cleanup.messages took its media away.';

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

create table temp_files (
  id         uuid        primary key default gen_random_uuid(),
  key        text        not null,
  bytes      bigint      not null default 0,
  created_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index on temp_files (key);
create index temp_files_alive   on temp_files (created_at) where deleted_at is null;
create index temp_files_deleted on temp_files (deleted_at) where deleted_at is not null;
comment on column temp_files.deleted_at is 'Nobody may use it from then on. The row goes after its object.';

create table media_objects (
  id         bigint      generated always as identity primary key,
  key        text        collate "C" not null,
  bytes      bigint      not null default 0,
  message_id uuid        references messages (id) on delete cascade,
  story_id   uuid        references stories (id) on delete cascade,
  created_at timestamptz not null default now()
);
create index on media_objects (key);
create index on media_objects (message_id) where message_id is not null;
create index on media_objects (story_id) where story_id is not null;
comment on table  media_objects is 'Who uses which object in storage. An object that several use, as a forwarded picture, has several rows, and is deleted after the last.';
comment on column media_objects.bytes is '0: not known.';

create trigger keep_object before insert or update of key on media_objects for each row execute function keep_object('key');
create trigger keep_object before insert or update of key on temp_files    for each row execute function keep_object('key');

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
comment on column prekeys.sealed_private_key is 'libsodium''s sealed box of the 32 private bytes, which only the device''s identity key opens. Null: the device made the pair, or has collected it.';

create table prekey_refill_requests (
  id           bigint      generated always as identity primary key,
  device_id    uuid        not null references devices (id) on delete cascade,
  missing      integer     not null,
  reason       text        not null check (reason in ('request_mode', 'no_identity_key', 'bad_identity_key', 'ids_used_up')),
  requested_at timestamptz not null default now(),
  fulfilled_at timestamptz,
  push_job_id  bigint
);
create unique index prekey_refill_requests_open on prekey_refill_requests (device_id) where fulfilled_at is null;
create index prekey_refill_requests_fulfilled on prekey_refill_requests (fulfilled_at) where fulfilled_at is not null;
comment on table  prekey_refill_requests is 'Devices that have to make prekeys themselves and upload them.';
comment on column prekey_refill_requests.push_job_id is 'The last job that was to tell the device: a row of notification_jobs.';
comment on column prekey_refill_requests.fulfilled_at is 'When cleanup.prekeys found enough of them.';

-- Whoever inserts prekeys, the device or the worker: an id that was used is not given out again after its row was deleted.
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
create trigger prekey_ids_follow after insert on prekeys referencing new table as fresh
  for each statement execute function prekey_ids_follow();

create function collect_prekeys(device uuid) returns table (prekey_id integer, public_key bytea, sealed_private_key bytea)
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
comment on function collect_prekeys is 'Gives a device the pairs that were made for it, once: the sealed halves are deleted. Call it in the transaction in which the device confirms.';

-- Objects that media jobs wrote, and the originals they read, belong to the message that the job names. What a result says of one object is
-- {"key": ..., "bytes": ...}, wherever it stands.
create function media_objects_of(payload jsonb, result jsonb) returns table (key text, bytes bigint, message_id uuid)
  language sql stable
  set search_path from current
as $$
  with objects as (
    select coalesce(payload ->> 's3Key'::text, ltrim(payload ->> 'inputPath'::text, '/'), payload ->> 'key'::text) as key, null::numeric as bytes
    union all
    select o ->> 'key'::text, case jsonb_typeof(o -> 'bytes'::text) when 'number' then (o ->> 'bytes'::text)::numeric end
      from jsonb_path_query(result, 'lax $.**') o
     where jsonb_typeof(o) = 'object' and jsonb_typeof(o -> 'key'::text) = 'string'
  )
  select o.key, coalesce(max(o.bytes), 0)::bigint, m.id
    from objects o
    left join messages m on m.id = case when payload ->> 'messageId'::text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                                        then (payload ->> 'messageId'::text)::uuid end
   where o.key is not null
   group by o.key, m.id
$$;

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
   where not exists (select from media_objects m where m.key = o.key and m.message_id is not distinct from o.message_id);
  return null;
end $$;
comment on function media_objects_follow is 'What a completed media job wrote is in use.';

create trigger media_objects_follow after update on media_jobs
  for each row when (new.status = 'completed' and old.status <> 'completed' and new.result is not null)
  execute function media_objects_follow();

insert into media_objects (key, bytes, message_id)
select distinct o.key, o.bytes, o.message_id
  from media_jobs j cross join lateral media_objects_of(j.payload, j.result) o
 where j.status = 'completed' and j.result is not null;

alter table users                  enable row level security;
alter table devices                enable row level security;
alter table sessions               enable row level security;
alter table session_tokens         enable row level security;
alter table messages               enable row level security;
alter table stories                enable row level security;
alter table temp_files             enable row level security;
alter table media_objects          enable row level security;
alter table prekeys                enable row level security;
alter table prekey_refill_requests enable row level security;

update schedules set enabled = true
 where name in ('cleanup.stories', 'cleanup.sessions', 'cleanup.messages', 'cleanup.temp_files', 'cleanup.prekeys', 'cleanup.orphaned_media',
                'cleanup.storage_deletions');
