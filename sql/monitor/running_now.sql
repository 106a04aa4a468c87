-- What is running, since when, and where? The longest first. With no `host` nobody runs it: it is retried within a minute.
select j.id, j.queue, j.kind, j.attempt, j.progress, date_trunc('second', now() - j.started_at) as runs_for,
       w.host, w.pid, j.file_id
  from jobs j
  left join workers w on w.id = j.locked_by
 where j.status = 'processing'
 order by j.started_at, j.id;
