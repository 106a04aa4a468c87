-- The statements of rollups.ts. See migrations/0022_metrics.sql.

-- name: add_rollups
-- By the clock of Postgres, so that the workers of a fleet agree on the minute. In the order of the key: workers that
-- write at the same moment wait for each other, and do not deadlock.
insert into job_rollups as r (minutes, at, queue, kind, completed, failed, retried, duration_ms, durations, waited_ms,
                              waits)
select p.minutes,
       pg_catalog.date_bin(pg_catalog.make_interval(secs => p.minutes::float8 * 60::float8), clock_timestamp(),
                           'epoch'),
       s.queue, s.kind, s.completed, s.failed, s.retried, s.duration_ms, s.durations, s.waited_ms, s.waits
  from jsonb_to_recordset(:sums::jsonb)
    as s (queue text, kind text, completed bigint, failed bigint, retried bigint, duration_ms bigint,
          durations bigint[], waited_ms bigint, waits bigint[])
 cross join (values (1::smallint), (15::smallint)) as p (minutes)
 order by p.minutes, s.queue, s.kind
    on conflict (minutes, at, queue, kind) do update
   set completed   = r.completed + excluded.completed,
       failed      = r.failed + excluded.failed,
       retried     = r.retried + excluded.retried,
       duration_ms = r.duration_ms + excluded.duration_ms,
       waited_ms   = r.waited_ms + excluded.waited_ms,
       durations   = array(select coalesce(f.a, 0) + coalesce(f.b, 0)
                             from rows from (pg_catalog.unnest(r.durations), pg_catalog.unnest(excluded.durations))
                                  with ordinality as f (a, b, n)
                            order by f.n),
       waits       = array(select coalesce(f.a, 0) + coalesce(f.b, 0)
                             from rows from (pg_catalog.unnest(r.waits), pg_catalog.unnest(excluded.waits))
                                  with ordinality as f (a, b, n)
                            order by f.n);

-- name: prune_rollups
delete from job_rollups
 where (minutes = 1 and at < clock_timestamp() - interval '1 day')
    or (minutes = 15 and at < clock_timestamp() - interval '31 days');
