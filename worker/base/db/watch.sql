-- Sessions whose client waits for an answer that will not come.

-- name: deaf_sessions
-- Sessions that are gone, or idle: the statement, or its answer, was lost on the way.
select s.pid
  from pg_catalog.unnest(:pids::integer[]) s (pid)
  left join pg_stat_activity a on a.pid = s.pid
 where a.pid is null or a.state like 'idle%';

-- name: end_sessions
-- On the server they live on, with all their locks, until it notices that the client is gone.
select count(*) filter (where pg_terminate_backend(a.pid)) as ended
  from pg_stat_activity a
 where a.pid = any(:pids::integer[]) and a.usename = session_user and a.state like 'idle%';
