-- Conditions whose parameter is null fall away when the statement is planned for its values: see `bound`.
-- Live and archived jobs are separate parts, because only the archive has an index on completed_at; and a search for a
-- state that the archive cannot have leaves it out. Keys are looked up first, so that the index on ids is used.

-- name: bound
select set_config('statement_timeout', :ms, true), set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: search_jobs
select * from (
  (select id, queue, kind, status, priority, attempt, retry_count, max_retries, run_at, created_at, started_at,
          completed_at, progress, error_code, left(error, 300) as error, locked_by
     from jobs
    where not archived
      and (:below::bigint is null or id < :below)
      and (:ids::bigint[] is null or id = any(:ids))
      and (:queues::text[] is null or queue = any(:queues))
      and (:states::text[] is null or status = any(:states))
      and (:kinds::text[] is null or kind like any(:kinds) or (queue || '.' || kind) like any(:kinds))
      and (:errors::text[] is null or error_code like any(:errors))
      and (:keys::text[] is null or id = any(array(select k.job_id from queues q join job_keys k on k.queue = q.name
                                                   where k.dedupe_key = any(:keys))))
      and (:files::text[] is null or file_id = any(:files))
      and (:since::timestamptz is null or coalesce(completed_at, created_at) >= :since)
      and (:before::timestamptz is null or coalesce(completed_at, created_at) < :before)
      and (:workers::text[] is null or locked_by in (select w.id from workers w where w.id::text like any(:workers)
                                                                                   or w.host like any(:workers)))
      and (:texts::text[] is null or left(error, 4000) ilike all(:texts) or dedupe_key ilike all(:texts))
      and (:payload::text is null or payload @@ :payload::jsonpath)
    order by id desc
    limit :limit)
  union all
  (select id, queue, kind, status, priority, attempt, retry_count, max_retries, run_at, created_at, started_at,
          completed_at, progress, error_code, left(error, 300) as error, locked_by
     from jobs
    where archived and :workers::text[] is null
      and (:below::bigint is null or id < :below)
      and (:ids::bigint[] is null or id = any(:ids))
      and (:queues::text[] is null or queue = any(:queues))
      and (:states::text[] is null or status = any(:states))
      and (:kinds::text[] is null or kind like any(:kinds) or (queue || '.' || kind) like any(:kinds))
      and (:errors::text[] is null or error_code like any(:errors))
      and (:keys::text[] is null or id = any(array(select k.job_id from queues q join job_keys k on k.queue = q.name
                                                   where k.dedupe_key = any(:keys))))
      and (:files::text[] is null or file_id = any(:files))
      and (:since::timestamptz is null or completed_at >= :since)
      and (:before::timestamptz is null or completed_at < :before)
      and (:texts::text[] is null or left(error, 4000) ilike all(:texts) or dedupe_key ilike all(:texts))
      and (:payload::text is null or payload @@ :payload::jsonpath)
    order by id desc
    limit :limit)
) found
 order by id desc
 limit :limit;

-- name: count_jobs
-- Counted up to `most`. `last_id`: of all jobs, so that later ones are told apart.
select count(*) as jobs, (select max(id) from jobs) as last_id
  from (select from jobs
         where (:ids::bigint[] is null or id = any(:ids))
           and (:queues::text[] is null or queue = any(:queues))
           and (:states::text[] is null or status = any(:states))
           and (:kinds::text[] is null or kind like any(:kinds) or (queue || '.' || kind) like any(:kinds))
           and (:errors::text[] is null or error_code like any(:errors))
           and (:keys::text[] is null or id = any(array(select k.job_id
                                                          from queues q join job_keys k on k.queue = q.name
                                                         where k.dedupe_key = any(:keys))))
           and (:files::text[] is null or file_id = any(:files))
           and (:since::timestamptz is null or coalesce(completed_at, created_at) >= :since)
           and (:before::timestamptz is null or coalesce(completed_at, created_at) < :before)
           and (:workers::text[] is null or locked_by in (select w.id from workers w where w.id::text like any(:workers)
                                                                                        or w.host like any(:workers)))
           and (:texts::text[] is null or left(error, 4000) ilike all(:texts) or dedupe_key ilike all(:texts))
           and (:payload::text is null or payload @@ :payload::jsonpath)
         limit :most) matching;

-- name: next_jobs
select id
  from jobs
 where id > :after and id <= :until
   and (:ids::bigint[] is null or id = any(:ids))
   and (:queues::text[] is null or queue = any(:queues))
   and (:states::text[] is null or status = any(:states))
   and (:kinds::text[] is null or kind like any(:kinds) or (queue || '.' || kind) like any(:kinds))
   and (:errors::text[] is null or error_code like any(:errors))
   and (:keys::text[] is null or id = any(array(select k.job_id from queues q join job_keys k on k.queue = q.name
                                                where k.dedupe_key = any(:keys))))
   and (:files::text[] is null or file_id = any(:files))
   and (:since::timestamptz is null or coalesce(completed_at, created_at) >= :since)
   and (:before::timestamptz is null or coalesce(completed_at, created_at) < :before)
   and (:workers::text[] is null or locked_by in (select w.id from workers w where w.id::text like any(:workers)
                                                                                or w.host like any(:workers)))
   and (:texts::text[] is null or left(error, 4000) ilike all(:texts) or dedupe_key ilike all(:texts))
   and (:payload::text is null or payload @@ :payload::jsonpath)
 order by id
 limit :limit;
