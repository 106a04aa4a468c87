-- name: makes_nobody_else
-- Whether this attempt may delete what it stored. It may not if the job goes on in another attempt, or was completed
-- after all, or if another job makes, or has made meanwhile, the same from the same original.
select not exists (
  select from media_jobs j
   where j.id = :id
     and (j.attempt <> :attempt or j.status in ('pending', 'completed')
          or exists (select from media_jobs o
                      where o.id <> j.id and o.kind = 'transcode'
                        and (o.status = 'processing' or (o.status = 'completed' and o.completed_at > j.started_at))
                        and :key in (o.payload ->> 's3Key'::text,
                                     ltrim(o.payload ->> 'inputPath'::text, '/'),
                                     o.payload ->> 'key'::text,
                                     (select source_key from media
                                       where id operator(pg_catalog.=) media_id(o.file_id)))))
) as alone;

-- name: save_thumbnails
-- The row was checked by saveProcessed before, in the same transaction.
update media set thumbnails = :thumbnails where id operator(pg_catalog.=) media_id(:id);
