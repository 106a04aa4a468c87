-- name: makes_nobody_else
-- Whether what this attempt stored is its own to delete. It is not where the job goes on in another attempt, or was completed after all, nor
-- where another job makes, or has made meanwhile, the same of the same original.
select not exists (
  select from media_jobs j
   where j.id = :id
     and (j.attempt <> :attempt or j.status in ('pending', 'completed')
          or exists (select from media_jobs o
                      where o.id <> j.id and o.kind = 'transcode'
                        and (o.status = 'processing' or (o.status = 'completed' and o.completed_at > j.started_at))
                        and :key in (o.payload ->> 's3Key'::text, ltrim(o.payload ->> 'inputPath'::text, '/'), o.payload ->> 'key'::text,
                                     (select source_key from media where id operator(pg_catalog.=) media_id(o.file_id)))))
) as alone;

-- name: save_thumbnails
-- Of a row that was just found to be as it was: saveProcessed comes before, in the same transaction.
update media set thumbnails = :thumbnails where id operator(pg_catalog.=) media_id(:id);
