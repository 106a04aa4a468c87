-- Sessions whose client waits for an answer that is not going to come.

-- name: deaf_sessions
-- Those that are gone, or do nothing: the statement, or the answer to it, was lost on its way.
select s.pid
  from pg_catalog.unnest(:pids::integer[]) s (pid)
  left join pg_stat_activity a on a.pid = s.pid
 where a.pid is null or a.state like 'idle%';

-- name: end_sessions
-- On the server they live on, with all that they hold locked, until it notices that nobody is at the other end.
select count(*) filter (where pg_terminate_backend(a.pid)) as ended
  from pg_stat_activity a
 where a.pid = any(:pids::integer[]) and a.usename = session_user and a.state like 'idle%';
