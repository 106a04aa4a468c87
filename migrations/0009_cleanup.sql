-- What cleanup jobs keep: which objects are still to be deleted from storage, what each run did, and which objects seem to be nobody's.
--
-- A row and its objects cannot go at the same moment. So the statement that deletes rows, or clears their URLs, writes the keys of their objects
-- to storage_deletions: both happen or neither does. The objects are deleted after that, a thousand a request; what fails is tried again later. A crash
-- anywhere leaves keys to delete, never a row whose object is gone.
--
-- Who refers to a key in a transaction that is still open cannot be seen. So a key is deleted only when all transactions have ended that may not
-- have seen that it was to be: those up to `horizon`, which a worker writes down when it first sees the row.
--
-- A file may be undeleted while cleanup.soft_deleted_files is at it. To clear deleted_at is enough: purged_at, without which the row would be deleted
-- after its pictures, is cleared with it. Deletions of its pictures that wait are called off, those under way are waited for; and since some are gone
-- by then, it is published again, under the same keys.
--
-- Whether an object is in use is asked in one place, object_uses(): by each cleanup, before it deletes anything.
--
-- Locks: writes to auction_files and media wait while the indexes of their addresses are built, which reads each table once and takes about 30 us
-- a row. Undo: drop what is made here.

create sequence storage_deletion_ids;

create table storage_deletions (
  id         bigint      primary key default nextval('storage_deletion_ids'),
  key        text        collate "C" not null,
  reason     text        not null check (reason ~ '^[a-z][a-z0-9_]*$'),
  bytes      bigint      not null default 0,
  attempts   integer     not null default 0,
  error_code text,
  error      text,
  due_at     timestamptz not null default clock_timestamp(),
  horizon    xid8,
  created_at timestamptz not null default clock_timestamp()
);
create index on storage_deletions (due_at);
create index on storage_deletions (key);
comment on table  storage_deletions is 'Objects to delete from storage. Whoever deletes what refers to an object inserts its key here in the same transaction.';
comment on column storage_deletions.key is 'Of an object; or, with a slash at the end, of a folder: all objects in it.';
comment on column storage_deletions.reason is 'What let go of it: a cleanup, or a table.';
comment on column storage_deletions.bytes is 'As far as known.';
comment on column storage_deletions.due_at is 'When it is tried next; infinity: no storage can have such a key, so a person has to look.';
comment on column storage_deletions.horizon is 'It is not deleted before all transactions up to this one have ended: they may use the key, and not have seen this row. Null: no worker has seen it yet.';

create table storage_kept (
  key   text   collate "C" primary key,
  bytes bigint not null
);
comment on table storage_kept is 'Objects that were to be deleted while a row still named them that tells nobody when it goes: asked again until none does.';

create table storage_holds (
  job_id bigint primary key,
  folder text   collate "C" not null
);
comment on table storage_holds is 'Folders that media jobs write to while they run: nothing in them is deleted until then. Rows refer to it only when they complete.';

alter table auction_files add column if not exists purged_at timestamptz;
comment on column auction_files.purged_at is 'Its pictures are being deleted from storage since then. The row goes after them, unless it is undeleted.';
create index auction_files_deleted on auction_files (deleted_at) where deleted_at is not null and purged_at is null;
create index auction_files_purged  on auction_files (purged_at)  where purged_at is not null;

-- What refers to an object -----------------------------------------------------------------------------------------------------

-- The files that one media job wrote stand in a folder that ends with a hash. They are in use together: a playlist names segments that no row names.
-- So every question is about a unit, which is that folder, or the object itself. '0' comes after '/'; no key has the character 1.
create function object_units(keys text[]) returns table (key text, unit text, below text)
  language sql immutable
  set search_path from current
as $$
  select k.key, coalesce(f.folder, k.key), case when f.folder is null then k.key || chr(1) else left(f.folder, -1) || '0' end
    from pg_catalog.unnest(keys) k (key)
   cross join lateral (select substring(k.key from '^processed/.*-[0-9a-f]{20}/')) f (folder)
$$;
comment on function object_units is 'The unit of each key. Its keys are not less than `unit`, and less than `below`.';

-- An address is a key, or a URL of any host whose path ends with the key: a CDN changes its name, and may have a path of its own. Indexes call this for
-- each row that is written, with the rights of whoever writes it: it never fails, and what it gives is bounded, since no key has more than 1,024 bytes.
create function object_names(addresses text[], listed jsonb default null) returns text[]
  language plpgsql immutable
  set search_path to pg_catalog, pg_temp
as $$
declare
  names   text[] := '{}';
  tries   text[];
  address text;
  path    text;
  folder  text;
begin
  if listed is not null then
    addresses := addresses || array(select s #>> '{}' from jsonb_path_query(listed, 'lax $.** ? (@.type() == "string")') s);
  end if;
  foreach address in array coalesce(addresses, '{}') loop
    continue when address is null or address like 'data:%';
    path := substring(address from '^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*/(.*)$');
    tries := array[substring(coalesce(path, address) from '^[^?#]*')];
    if path is null then
      -- A key may have any character.
      tries := tries || address;
    end if;
    if tries[1] ~ '%[0-9a-fA-F]{2}' then
      begin
        tries := tries || convert_from(decode((select string_agg(case when m.part[1] ~ '^%[0-9a-fA-F]{2}$' then substr(m.part[1], 2)
                                                                      else encode(convert_to(m.part[1], 'UTF8'), 'hex') end, '' order by m.n)
                                                 from regexp_matches(right(tries[1], 4000), '%[0-9a-fA-F]{2}|[^%]+|%', 'g') with ordinality m (part, n)), 'hex'), 'UTF8');
      exception
        when others then
          null;
      end;
    end if;
    for path in select distinct right(ltrim(t, '/'), 2000) from unnest(tries) t loop
      folder := substring(path from '^(?:.*/)?processed/.*-[0-9a-f]{20}/');
      path := coalesce(folder, path);
      while path <> '' loop
        if octet_length(path) <= 1024 and (folder is null or path like 'processed/%') then
          names := array_append(names, path);
        end if;
        exit when strpos(path, '/') = 0;
        path := substr(path, strpos(path, '/') + 1);
      end loop;
    end loop;
  end loop;
  return names;
end $$;
comment on function object_names is 'The units that addresses may name, and those of all strings in a list: for an index on the columns with the addresses of a table.';

create index auction_files_addresses on auction_files
 using gin (object_names(array[source_key::text, display_url::text, thumb_url::text])) with (fastupdate = off);
create index media_addresses on media
 using gin (object_names(array[source_key::text, url::text, thumbnail_url::text], thumbnails)) with (fastupdate = off);

create function messenger_object_uses(keys text[]) returns table (key text, used_by text, id text, keeps boolean)
  language sql stable
  set search_path from current
as $$ select null::text, null::text, null::text, false where false $$;
comment on function messenger_object_uses is 'What the messenger''s tables refer to: nothing, before they are made.';

create function application_object_uses(keys text[]) returns table (key text, used_by text, id text, keeps boolean)
  language sql stable
  set search_path from current
as $$ select null::text, null::text, null::text, false where false $$;
comment on function application_object_uses is 'What your own tables refer to: yours to replace. sql/cleanup/README.md has an example.';

-- A running job holds the folder that it writes to, until its rows refer to it: both are seen in one snapshot. A failed job may be run again by a person.
-- Row security that would hide rows from the worker is an error: their objects would seem to be in nobody's use.
create function object_uses(keys text[]) returns table (key text, used_by text, id text, keeps boolean)
  language sql stable
  set search_path from current
  set row_security = off
  set enable_seqscan = off
  set enable_bitmapscan = on
  set enable_hashjoin = on
  set jit = off
as $$
  with units as materialized (select u.key, u.unit, u.below from object_units(keys) u)
  select u.key, 'media'::text, m.id::text, m.deleted_at is null
    from media m
   cross join lateral pg_catalog.unnest(object_names(array[m.source_key::text, m.url::text, m.thumbnail_url::text], m.thumbnails)) n (name)
    join units u on u.unit = n.name
   where object_names(array[m.source_key::text, m.url::text, m.thumbnail_url::text], m.thumbnails) operator(pg_catalog.&&) array(select unit from units)
   union all
  select u.key, 'auction_files', f.id::text, f.purged_at is null
    from auction_files f
   cross join lateral pg_catalog.unnest(object_names(array[f.source_key::text, f.display_url::text, f.thumb_url::text])) n (name)
    join units u on u.unit = n.name
   where object_names(array[f.source_key::text, f.display_url::text, f.thumb_url::text]) operator(pg_catalog.&&) array(select unit from units)
   union all
  -- Pictures of an earlier original go with the file: their keys begin with its id.
  select u.key, 'auction_files', f.id::text, f.purged_at is null
    from units u
    join auction_files f on f.id operator(pg_catalog.=) auction_file_id(substring(u.key from '^(.*)/[^/]*$'))
   union all
  select u.key, 'media_jobs', j.id::text, j.status <> 'failed'
    from media_jobs j
   cross join lateral pg_catalog.unnest(array[j.payload ->> 's3Key'::text, j.payload ->> 'key'::text, ltrim(j.payload ->> 'inputPath'::text, '/')]) n (name)
    join units u on u.unit = coalesce(substring(n.name from '^processed/.*-[0-9a-f]{20}/'), n.name)
   where not j.archived and j.status in ('pending', 'processing', 'failed')
   union all
  select u.key, 'storage_holds', h.job_id::text, true
    from storage_holds h
    join media_jobs_live j on j.id = h.job_id and j.status = 'processing'
    join units u on starts_with(u.key, h.folder || '/')
   union all
  select u.key, 'storage_deletions', d.id::text, false
    from units u
    join storage_deletions d on d.key >= u.unit and d.key < u.below
   union all
  select m.key, m.used_by, m.id, m.keeps from messenger_object_uses(keys) m
   union all
  select a.key, a.used_by, a.id, a.keeps from application_object_uses(keys) a
$$;
comment on function object_uses is
  'Each row that names one of the objects. Unless it `keeps` the object, as no deleted row does, a cleanup whose time has come deletes it all the same.';

create function objects_freed(keys text[], sizes bigint[], users text[]) returns table (bytes bigint, folders text[])
  language sql stable
  set search_path from current
  set enable_hashjoin = on
as $$
  with kept as materialized (
    select distinct s.key from object_uses(keys) s where s.keeps and s.used_by || ' ' || s.id not in (select u from pg_catalog.unnest(users) u)
  ), freed as materialized (
    select k.key, max(k.bytes) as bytes from unnest(keys, sizes) k (key, bytes) where k.key not in (select t.key from kept t) group by k.key
  ), folders as materialized (
    select f.key from freed f where starts_with(reverse(f.key), '/')
  )
  select coalesce(sum(f.bytes) filter (where u.unit not in (select o.key from folders o)), 0)::bigint, array(select o.key from folders o)
    from freed f
    join object_units(array(select g.key from freed g)) u on u.key = f.key
$$;
comment on function objects_freed is
  'For a dry run: what storage would be rid of if the `users`, such as "messages 7", let go of these keys. `bytes` without those of the folders.';

-- When an object is deleted ----------------------------------------------------------------------------------------------------

create function oldest_transaction() returns xid8
  language sql stable
as $$
  select coalesce((select x
                     from pg_snapshot_xip(pg_current_snapshot()) x
                    where not exists (select from pg_stat_activity a
                                       where a.backend_xid = x::xid and a.datname <> current_database())
                      and not exists (select from pg_prepared_xacts p
                                       where p.transaction = x::xid and p.database <> current_database())
                    order by x limit 1),
                  pg_snapshot_xmax(pg_current_snapshot()))
$$;
comment on function oldest_transaction is 'The oldest transaction that writes and has not ended: of this database, for all that is known. None: the one to come.';

-- Which application writes an object under a key that it used before puts this on the table that refers to it, and writes the row first:
--   create trigger keep_object before insert or update of key on my_files for each row execute function keep_object('key');
-- A deletion that waits is called off. One that is under way is waited for, so that the upload comes after it. One that is written down later waits
-- for this transaction, which therefore takes its number first. (A transaction of repeatable read looks at what was there when it began: too early.)
-- Without a sequential scan, whatever the statistics of a table say that is empty most of the time.
create function keep_object() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
begin
  if not pg_has_role((select c.relowner from pg_class c where c.oid = tg_relid), current_user, 'member') then
    raise exception 'table % belongs to another role than keep_object', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  perform pg_current_xact_id();
  delete from storage_deletions d using object_units(array[pg_catalog.to_jsonb(new) ->> tg_argv[0]]) u
   where d.key >= u.unit and d.key < u.below;
  return new;
end $$;
comment on function keep_object is 'A trigger for tables that refer to objects; its argument is the column with the key. A key that is used again is not deleted.';

create sequence cleanup_log_ids;

create table cleanup_logs (
  id          bigint      primary key default nextval('cleanup_log_ids'),
  job_id      bigint      not null,
  kind        text        not null,
  cutoff      timestamptz not null,
  dry_run     boolean     not null,
  scanned     bigint      not null default 0,
  deleted     bigint      not null default 0,
  bytes       bigint      not null default 0,
  skipped     bigint      not null default 0,
  errors      bigint      not null default 0,
  generated   bigint      not null default 0,
  requested   bigint      not null default 0,
  remaining   boolean,
  started_at  timestamptz not null default clock_timestamp(),
  finished_at timestamptz
);
create unique index on cleanup_logs (job_id) where finished_at is null;
create index on cleanup_logs (kind, started_at);
comment on table  cleanup_logs is 'One row for each run of a cleanup. Each chunk is counted in the transaction that deletes it, so the figures hold through crashes.';
comment on column cleanup_logs.cutoff is 'By the clock of the database, fixed when the run began: what is younger stays. A retry of the job keeps it.';
comment on column cleanup_logs.dry_run is 'Nothing was changed: the figures are what a run would have done.';
comment on column cleanup_logs.scanned is 'Rows or objects that were old enough.';
comment on column cleanup_logs.deleted is 'Of these: deleted, or what the kind does instead.';
comment on column cleanup_logs.bytes is 'What storage let go of, as far as known: of these, and of what earlier runs had left.';
comment on column cleanup_logs.skipped is 'Old enough, and to be kept.';
comment on column cleanup_logs.errors is 'Objects that could not be deleted; they are tried again.';
comment on column cleanup_logs.generated is 'Prekeys made.';
comment on column cleanup_logs.requested is 'Devices that were asked for prekeys.';
comment on column cleanup_logs.remaining is 'Whether something was left to do.';
comment on column cleanup_logs.finished_at is 'Null while it runs, and where the job failed for good.';

create unlogged table storage_listing (
  log_id      bigint      not null,
  key         text        collate "C" not null,
  bytes       bigint      not null,
  modified_at timestamptz not null,
  orphaned    boolean     not null default false,
  primary key (log_id, key)
);
comment on table  storage_listing is 'What storage holds, while cleanup.orphaned_media compares it with the tables.';
comment on column storage_listing.orphaned is 'Old enough, and no row refers to it.';

create table orphan_sightings (
  key     text        collate "C" primary key,
  bytes   bigint      not null,
  seen_at timestamptz not null default clock_timestamp()
);
comment on table  orphan_sightings is 'Objects that no row referred to. One that is seen so again a day later is deleted.';
comment on column orphan_sightings.seen_at is 'When it was first seen so.';

alter table storage_deletions enable row level security;
alter table storage_kept      enable row level security;
alter table storage_holds     enable row level security;
alter table cleanup_logs      enable row level security;
alter table storage_listing   enable row level security;
alter table orphan_sightings  enable row level security;

create function file_undeleted() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  new.purged_at := null;
  return new;
end $$;
comment on function file_undeleted is 'What is not deleted is not purged.';

create trigger file_undeleted before update on auction_files
  for each row when (old.purged_at is not null and new.deleted_at is null) execute function file_undeleted();

create function file_recovered() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
begin
  if tg_relid <> 'auction_files'::regclass::oid then
    raise exception 'table % is not auction_files', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  delete from storage_deletions where key >= pg_catalog.format('%s/', new.id) collate "C" and key < pg_catalog.format('%s0', new.id) collate "C";
  if new.source_key is not null then
    insert into publish_jobs (file_id) values (new.id);
  end if;
  return null;
end $$;
comment on function file_recovered is 'Keeps the pictures that are still there, and has the others made again.';

create trigger file_recovered after update on auction_files
  for each row when (old.purged_at is not null and new.purged_at is null and new.deleted_at is null) execute function file_recovered();

-- Those of the messenger are switched on by its own migrations, where its tables are made.
insert into schedules (name, cron, queue, kind, overlap, enabled)
values ('cleanup.stories',            '5 * * * *',  'cleanup', 'stories',            'skip', false),
       ('cleanup.sessions',           '10 2 * * *', 'cleanup', 'sessions',           'skip', false),
       ('cleanup.messages',           '20 2 * * *', 'cleanup', 'messages',           'skip', false),
       ('cleanup.temp_files',         '35 * * * *', 'cleanup', 'temp_files',         'skip', false),
       ('cleanup.prekeys',            '50 * * * *', 'cleanup', 'prekeys',            'skip', false),
       ('cleanup.orphaned_media',     '0 4 * * *',  'cleanup', 'orphaned_media',     'skip', false),
       ('cleanup.soft_deleted_files', '30 3 * * *', 'cleanup', 'soft_deleted_files', 'skip', false),
       ('cleanup.storage_deletions',  '25 * * * *', 'cleanup', 'storage_deletions',  'skip', false),
       ('cleanup.finished_jobs',      '40 3 * * *', 'cleanup', 'finished_jobs',      'skip', true)
    on conflict (name) do nothing;
