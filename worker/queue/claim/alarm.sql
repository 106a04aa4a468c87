-- name: due_soon
-- When the next job of each queue falls due, or fell due since the last query. A job that was due when it was inserted
-- needs no alarm.
select q.queue, extract(epoch from due.first_at - now())::float8 * 1000::float8 as in_ms, now()::text as asked_at
  from pg_catalog.unnest(:queues::text[]) q (queue)
  left join lateral (select min(j.run_at) as first_at
                       from jobs j
                      where not j.archived and j.queue = q.queue and j.status = 'pending' and j.run_at > j.created_at
                        and j.run_at > coalesce(:since::timestamptz, now())
                        and j.run_at < now() + interval '3 s') due on true;
