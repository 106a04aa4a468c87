-- name: load_media
select id::text, source_key, deleted_at from media where id operator(pg_catalog.=) media_id(:id);

-- name: name_file
update media_jobs
   set file_id = (select m.id::text from media m where m.id operator(pg_catalog.=) media_id(:media))
 where id = :id and not archived and file_id is null;

-- name: hold_folder
-- Also removes the holds of jobs that have ended.
with ended as (
  delete from storage_holds
   where job_id = any(array(select h.job_id from storage_holds h
                             where h.job_id <> :job_id
                               and not exists (select from media_jobs_live j
                                                where j.id = h.job_id and j.status = 'processing')
                               for update skip locked))
)
insert into storage_holds (job_id, folder) values (:job_id, :folder)
    on conflict (job_id) do update set folder = excluded.folder;

-- name: call_off_deletions
-- If such a deletion is under way, this waits for it. '0' comes after '/'.
delete from storage_deletions where key >= :folder || '/' and key < :folder || '0';

-- name: save_media
-- Not if the row was deleted, or got another original, while the job ran.
update media
   set url = :url, thumbnail_url = :thumbnail_url, metadata = :metadata, processed_at = clock_timestamp()
 where id operator(pg_catalog.=) media_id(:id) and source_key is not distinct from :source_key and deleted_at is null
returning id;

-- name: tell_application
select on_media_processed(:kind, :payload, :result);
