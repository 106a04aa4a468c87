-- What is running, since when, and where? The longest-running job comes first. A job without `host` has lost its
-- worker: it is retried within a minute. `waits_for`: what the job waits for, for example memory (MEDIA_MEMORY_MB).
-- Meanwhile its time limit does not run.
select j.id, j.queue, j.kind, j.attempt, j.progress, date_trunc('second', now() - j.started_at) as runs_for,
       (select t.waits_for from jsonb_to_recordset(w.waiting) as t (job_id bigint, waits_for text)
         where t.job_id = j.id) as waits_for,
       w.host, w.pid, j.file_id
  from jobs j
  left join workers w on w.id = j.locked_by
 where j.status = 'processing'
 order by j.started_at, j.id;
