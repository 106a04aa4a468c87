-- A file that is undeleted while cleanup.soft_deleted_files is at it.
--
-- To clear deleted_at is enough: purged_at, without which the row would be deleted after its pictures, is cleared with it. Deletions of its pictures
-- that wait are called off, those under way are waited for; and since some are gone by then, it is published again, under the same keys.
--
-- Locks: SHARE ROW EXCLUSIVE on auction_files for a moment. Undo: drop the two triggers and their functions.

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
  delete from storage_deletions where key >= new.id || '/' and key < new.id || '0';
  if new.published_at is not null and new.source_key is not null then
    insert into publish_jobs (file_id) values (new.id);
  end if;
  return null;
end $$;
comment on function file_recovered is 'Keeps the pictures that are still there, and has the others made again.';

create trigger file_recovered after update on auction_files
  for each row when (old.purged_at is not null and new.purged_at is null and new.deleted_at is null) execute function file_recovered();

update auction_files set purged_at = null where purged_at is not null and deleted_at is null;

comment on column auction_files.purged_at is 'Its pictures are being deleted from storage since then. The row goes after them, unless it is undeleted.';
comment on column schedules.last_job_id is 'The last job that it inserted, or the one in which that goes on.';
