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
-- Locks: writes to auction_files wait while its two small indexes are built, which reads the table once. Undo: drop what is made here.

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
comment on column storage_deletions.reason is 'The cleanup whose sql/cleanup/<reason>.sql says whether the object is in use after all; any other word: it is not asked.';
comment on column storage_deletions.bytes is 'As far as known.';
comment on column storage_deletions.due_at is 'When it is tried next; infinity: no storage can have such a key, so a person has to look.';
comment on column storage_deletions.horizon is 'It is not deleted before all transactions up to this one have ended: they may use the key, and not have seen this row. Null: no worker has seen it yet.';

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
  delete from storage_deletions where key = pg_catalog.to_jsonb(new) ->> tg_argv[0];
  return new;
end $$;
comment on function keep_object is 'A trigger for tables that refer to objects; its argument is the column with the key. A key that is used again is not deleted.';

create table storage_holds (
  job_id bigint primary key,
  folder text   collate "C" not null
);
comment on table storage_holds is 'Folders that media jobs write to while they run: nothing in them is deleted until then. Rows refer to it only when they complete.';

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
comment on column cleanup_logs.bytes is 'Of the objects that went with them, as far as known.';
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
alter table storage_holds     enable row level security;
alter table cleanup_logs      enable row level security;
alter table storage_listing   enable row level security;
alter table orphan_sightings  enable row level security;

alter table auction_files add column if not exists purged_at timestamptz;
comment on column auction_files.purged_at is 'Its pictures are being deleted from storage since then. The row goes after them, unless it is undeleted.';
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
  if new.published_at is not null and new.source_key is not null then
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
