-- Cleanup: which objects are to be deleted from storage, which rows still use an object, and what each run did.
--
-- A row and its objects cannot be deleted at the same moment. So the statement that deletes rows, or clears their URLs,
-- also inserts the keys of their objects into storage_deletions: both happen or neither does. The objects are deleted
-- after that, a thousand a request; what fails is tried again later. A crash at any point leaves keys to delete, never
-- a row whose object is gone.
--
-- A transaction that has not ended may already use a key, invisibly. So a key is deleted only after all transactions
-- have ended that may not have seen its row in storage_deletions: those up to `horizon`, which a worker writes down
-- when it first sees the row.
--
-- Whether an object is in use is decided in one place, object_uses(). Every cleanup asks it before it deletes an
-- object.
--
-- Locks: writes to auction_files and media wait while the indexes of their addresses are built, which reads each table
-- once and takes about 30 us a row. Undo: drop everything named here.

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
  created_at timestamptz not null default clock_timestamp(),
  constraint error_too_long check (char_length(error_code) <= 60 and char_length(error) <= 2000)
);
create index on storage_deletions (due_at);
create index on storage_deletions (key);
comment on table  storage_deletions is
  'Objects to delete from storage. Whoever deletes what uses an object inserts its key here in the same transaction.';
comment on column storage_deletions.key is
  'The key of an object. With a slash at the end, of a folder: all objects in it.';
comment on column storage_deletions.reason is 'What released the object: a cleanup, or a table.';
comment on column storage_deletions.bytes is 'The size, as far as known.';
comment on column storage_deletions.due_at is
  'When the deletion is tried next. Infinity: no storage can have such a key, so a person has to look.';
comment on column storage_deletions.horizon is
  'The object is deleted only after all transactions up to this one have ended: they may use the key without having '
  'seen this row. Null: no worker has seen the row yet.';

create function deletion_impossible() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  new.error := pg_catalog.format('The key is %s bytes long, and no storage has keys above 1024', octet_length(new.key));
  new.error_code := 'key_too_long';
  new.key := left(new.key, 200) || '…';
  new.due_at := 'infinity';
  return new;
end $$;
comment on function deletion_impossible is
  'Keeps a key that no storage can have, for a person to see: the index could not take it, and the whole cleanup would '
  'fail.';

create trigger deletion_impossible before insert on storage_deletions
  for each row when (octet_length(new.key) > 1024) execute function deletion_impossible();

create table storage_kept (
  key   text   collate "C" primary key,
  bytes bigint not null
);
comment on table storage_kept is
  'Objects that were to be deleted while a row still named them. When that row goes, nothing inserts their keys into '
  'storage_deletions again, so cleanups check them until no row names them.';

create table storage_holds (
  job_id bigint primary key,
  folder text   collate "C" not null
);
comment on table storage_holds is
  'Folders that media jobs write to while they run. Rows name the objects only when the job completes, so nothing in '
  'these folders is deleted until then.';


-- Which rows use an object --------------------------------------------------------------------------------------------
--
-- The files that one media job wrote are in a folder that ends with a hash, and are in use together: a playlist names
-- segments that no row names. So every question is about a unit, which is that folder, or else the object itself.

-- '0' is the character after '/'; no key has the character 1.
create function object_units(keys text[]) returns table (key text, unit text, below text)
  language sql immutable
  set search_path from current
as $$
  select k.key, coalesce(f.folder, k.key),
         case when f.folder is null then k.key || chr(1) else left(f.folder, -1) || '0' end
    from pg_catalog.unnest(keys) k (key)
   cross join lateral (select substring(k.key from '^processed/.*-[0-9a-f]{20}/')) f (folder)
$$;
comment on function object_units is 'The unit of each key. Its keys are not less than `unit`, and less than `below`.';

-- An address is a key, or a URL of any host whose path ends with the key: the host of a CDN may change, and it may put
-- a path of its own in front. Indexes call this for each row that is written, with the rights of whoever writes it. So
-- it never fails, and its result is bounded: no key has more than 1,024 bytes.
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
    addresses := addresses || array(select s #>> '{}'
                                      from jsonb_path_query(listed, 'lax $.** ? (@.type() == "string")') s);
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
        tries := tries || convert_from(decode((
          select string_agg(case when m.part[1] ~ '^%[0-9a-fA-F]{2}$' then substr(m.part[1], 2)
                                 else encode(convert_to(m.part[1], 'UTF8'), 'hex') end, '' order by m.n)
            from regexp_matches(right(tries[1], 4000), '%[0-9a-fA-F]{2}|[^%]+|%', 'g') with ordinality m (part, n)
        ), 'hex'), 'UTF8');
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
comment on function object_names is
  'The units that addresses, and all strings in a JSON list, may name. For an index on the columns of a table that '
  'hold addresses.';

create index auction_files_addresses on auction_files
 using gin (object_names(array[source_key::text, display_url::text, thumb_url::text])) with (fastupdate = off);
create index media_addresses on media
 using gin (object_names(array[source_key::text, url::text, thumbnail_url::text], thumbnails)) with (fastupdate = off);

create function messenger_object_uses(keys text[]) returns table (key text, used_by text, id text, keeps boolean)
  language sql stable
  set search_path from current
as $$ select null::text, null::text, null::text, false where false $$;
comment on function messenger_object_uses is 'Rows of the messenger''s tables: none until they are made.';

create function application_object_uses(keys text[]) returns table (key text, used_by text, id text, keeps boolean)
  language sql stable
  set search_path from current
as $$ select null::text, null::text, null::text, false where false $$;
comment on function application_object_uses is
  'Rows of your own tables: replace it. sql/cleanup/README.md has an example.';

-- A running job holds the folder that it writes to until its rows name the objects: one snapshot sees one or the other.
-- A failed job may be run again by a person. row_security = off makes it an error if row level security hides rows from
-- the worker: their objects would seem to be in nobody's use.
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
   cross join lateral pg_catalog.unnest(
           object_names(array[m.source_key::text, m.url::text, m.thumbnail_url::text], m.thumbnails)) n (name)
    join units u on u.unit = n.name
   where object_names(array[m.source_key::text, m.url::text, m.thumbnail_url::text], m.thumbnails)
         operator(pg_catalog.&&) array(select unit from units)
   union all
  select u.key, 'auction_files', f.id::text, f.purged_at is null
    from auction_files f
   cross join lateral pg_catalog.unnest(
           object_names(array[f.source_key::text, f.display_url::text, f.thumb_url::text])) n (name)
    join units u on u.unit = n.name
   where object_names(array[f.source_key::text, f.display_url::text, f.thumb_url::text])
         operator(pg_catalog.&&) array(select unit from units)
   union all
  -- Pictures of an earlier original go with the file: their keys begin with its id.
  select u.key, 'auction_files', f.id::text, f.purged_at is null
    from units u
    join auction_files f on f.id operator(pg_catalog.=) auction_file_id(substring(u.key from '^(.*)/[^/]*$'))
   union all
  select u.key, 'media_jobs', j.id::text, j.status <> 'failed'
    from media_jobs j
   cross join lateral pg_catalog.unnest(array[j.payload ->> 's3Key'::text, j.payload ->> 'key'::text,
                                              ltrim(j.payload ->> 'inputPath'::text, '/')]) n (name)
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
  'Each row that names one of the objects. `keeps` is false for rows that are deleted, failed or waiting for deletion: '
  'a cleanup whose time has come deletes the object all the same.';

create function objects_freed(keys text[], sizes bigint[], users text[]) returns table (bytes bigint, folders text[])
  language sql stable
  set search_path from current
  set enable_hashjoin = on
as $$
  with kept as materialized (
    select distinct s.key
      from object_uses(keys) s
     where s.keeps and s.used_by || ' ' || s.id not in (select u from pg_catalog.unnest(users) u)
  ), freed as materialized (
    select k.key, max(k.bytes) as bytes
      from unnest(keys, sizes) k (key, bytes)
     where k.key not in (select t.key from kept t)
     group by k.key
  ), folders as materialized (
    select f.key from freed f where starts_with(reverse(f.key), '/')
  )
  select coalesce(sum(f.bytes) filter (where u.unit not in (select o.key from folders o)), 0)::bigint,
         array(select o.key from folders o)
    from freed f
    join object_units(array(select g.key from freed g)) u on u.key = f.key
$$;
comment on function objects_freed is
  'For a dry run: what storage would lose if the `users`, such as "messages 7", no longer used these keys. `bytes` '
  'leaves out the folders.';


-- When an object is deleted -------------------------------------------------------------------------------------------

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
comment on function oldest_transaction is
  'The oldest transaction that writes and has not ended, unless it is known to be of another database. Where there is '
  'none: the next one.';

-- An application that writes an object under a key that it used before puts this trigger on the table that names it,
-- and writes the row before the object:
--
--   create trigger keep_object before insert or update of key on my_files
--     for each row execute function keep_object('key');
--
-- A deletion that waits is cancelled. One that is under way is waited for, so that the upload comes after it. One that
-- is inserted later waits for this transaction, which is why it takes its transaction id first. (That does not hold in
-- a transaction of REPEATABLE READ, which does not see deletions that were inserted after it began.)
create function keep_object() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
begin
  if not pg_has_role((select c.relowner from pg_class c where c.oid = tg_relid), current_user, 'member') then
    raise exception 'table % belongs to another role than keep_object', tg_relid::regclass
      using errcode = 'insufficient_privilege';
  end if;
  perform pg_current_xact_id();
  delete from storage_deletions d using object_units(array[pg_catalog.to_jsonb(new) ->> tg_argv[0]]) u
   where d.key >= u.unit and d.key < u.below;
  return new;
end $$;
comment on function keep_object is
  'A trigger for tables that name objects; its argument is the column with the key. A key that is used again is not '
  'deleted.';


-- Auction files that are deleted --------------------------------------------------------------------------------------
--
-- cleanup.soft_deleted_files sets purged_at, deletes the pictures, and then the row. A file may be undeleted meanwhile:
-- it is enough to clear deleted_at. Then purged_at is cleared too, deletions of its pictures that wait are cancelled,
-- and those under way are waited for. Some pictures are gone by then, so the file is published again, under the same
-- keys.

create index auction_files_deleted on auction_files (deleted_at) where deleted_at is not null and purged_at is null;
create index auction_files_purged  on auction_files (purged_at)  where purged_at is not null;

create function file_undeleted() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  new.purged_at := null;
  return new;
end $$;
comment on function file_undeleted is 'A file that is no longer deleted is not purged.';

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
  delete from storage_deletions
   where key >= pg_catalog.format('%s/', new.id) collate "C" and key < pg_catalog.format('%s0', new.id) collate "C";
  if new.source_key is not null then
    insert into publish_jobs (file_id) values (new.id);
  end if;
  return null;
end $$;
comment on function file_recovered is 'Keeps the pictures that are still there, and has the others made again.';

create trigger file_recovered after update on auction_files
  for each row when (old.purged_at is not null and new.purged_at is null and new.deleted_at is null)
  execute function file_recovered();


-- What each run did ---------------------------------------------------------------------------------------------------

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
comment on table  cleanup_logs is
  'One row for each run of a cleanup. Each chunk is counted in the transaction that deletes it, so a crash loses no '
  'figure.';
comment on column cleanup_logs.cutoff is
  'What is younger stays. By the database''s clock, fixed when the run began; a retry of the job keeps it.';
comment on column cleanup_logs.dry_run is 'Nothing was changed: the figures are what a run would have done.';
comment on column cleanup_logs.scanned is 'Rows or objects that were old enough.';
comment on column cleanup_logs.deleted is 'How many of these were deleted, or changed as the kind does instead.';
comment on column cleanup_logs.bytes is
  'The size of the objects that storage deleted, as far as known: those of this run, and those that earlier runs had '
  'left.';
comment on column cleanup_logs.skipped is 'Rows or objects that were old enough, but are to be kept.';
comment on column cleanup_logs.errors is 'Objects that could not be deleted. They are tried again.';
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
comment on column storage_listing.orphaned is 'Old enough, and no row names it.';

create table orphan_sightings (
  key     text        collate "C" primary key,
  bytes   bigint      not null,
  seen_at timestamptz not null default clock_timestamp()
);
comment on table  orphan_sightings is
  'Objects that no row named. One that is still named by no row a day later is deleted.';
comment on column orphan_sightings.seen_at is 'When the object was first seen so.';

-- The migrations of the messenger enable the schedules of their tables.
insert into schedules (name, cron, queue, kind, overlap, enabled)
values ('cleanup.stories',            '5 * * * *',  'cleanup', 'stories',            'skip', false),
       ('cleanup.sessions',           '10 2 * * *', 'cleanup', 'sessions',           'skip', false),
       ('cleanup.messages',           '20 2 * * *', 'cleanup', 'messages',           'skip', false),
       ('cleanup.temp_files',         '35 * * * *', 'cleanup', 'temp_files',         'skip', false),
       ('cleanup.prekeys',            '50 * * * *', 'cleanup', 'prekeys',            'skip', false),
       ('cleanup.orphaned_media',     '0 4 * * *',  'cleanup', 'orphaned_media',     'skip', false),
       ('cleanup.soft_deleted_files', '30 3 * * *', 'cleanup', 'soft_deleted_files', 'skip', false),
       ('cleanup.storage_deletions',  '25 * * * *', 'cleanup', 'storage_deletions',  'skip', false),
       ('cleanup.finished_jobs',      '40 3 * * *', 'cleanup', 'finished_jobs',      'skip', true);
