-- The statement of fleet.ts.

-- name: fleet
-- Each part reads few rows, however many there are: counts stop at 10,000.
select pg_catalog.json_build_object(
  'queues', (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                      'queue', q.queue, 'paused', q.paused, 'waiting', q.waiting, 'active', q.active,
                      'completed', q.completed, 'failed', q.failed, 'delayed', q.delayed,
                      'oldest_due_s', q.oldest_due_s,
                      'age_s', greatest(0, extract(epoch from clock_timestamp() - q.counted_at)::float8))), '[]')
               from queue_counts() q),
  'workers', (select count(*) from workers w where worker_is_alive(w.id)),
  'schedules_late', (select count(*) from schedules s
                      where s.enabled
                        and (s.error is not null or s.next_tick < clock_timestamp() - interval '1 minute')),
  'incidents', (select count(*) from incidents i where i.resolved_at is null),
  'messages_rejected', (select count(*) from (select from rejected_messages limit 10000) m),
  'deliveries_ambiguous', (select count(*)
                             from (select from notification_deliveries d where d.status = 'ambiguous' limit 10000) a),
  'attempts_lost', (select count(*) filter (where e.error_code = 'worker_lost')
                      from (select error_code from job_errors
                             where failed_at > clock_timestamp() - interval '5 minutes'
                             order by failed_at desc
                             limit 10000) e),
  'bridges', (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('bridge', b.bridge,
                                                                               'connected', b.connected)), '[]')
                from (select t.bridge, pg_catalog.bool_and(t.connected) as connected
                        from workers w, jsonb_to_recordset(w.bridges) as t (bridge text, connected boolean)
                       where worker_is_alive(w.id)
                       group by t.bridge
                       order by t.bridge
                       limit 100) b)) as fleet;
