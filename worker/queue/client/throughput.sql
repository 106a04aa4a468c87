-- The statement of throughput.ts. See migrations/0022_metrics.sql.

-- name: throughput
with chosen as materialized (
  select * from job_rollups
   where minutes = :minutes::smallint
     and at > :since::timestamptz - pg_catalog.make_interval(secs => :minutes::float8 * 60::float8)
     and (:queue::text is null or queue = :queue)
), sums as (
  select at, queue, sum(completed) as completed, sum(failed) as failed, sum(retried) as retried,
         sum(duration_ms) as duration_ms, sum(waited_ms) as waited_ms
    from chosen
   group by at, queue
), durations as (
  select at, queue, pg_catalog.array_agg(counted order by n) as durations
    from (select at, queue, n, sum(each)::float8 as counted
            from chosen, pg_catalog.unnest(durations) with ordinality as u (each, n)
           group by at, queue, n) d
   group by at, queue
), waits as (
  select at, queue, pg_catalog.array_agg(counted order by n) as waits
    from (select at, queue, n, sum(each)::float8 as counted
            from chosen, pg_catalog.unnest(waits) with ordinality as u (each, n)
           group by at, queue, n) w
   group by at, queue
)
select extract(epoch from s.at)::float8 as at_s, s.queue, s.completed::float8, s.failed::float8, s.retried::float8,
       s.duration_ms::float8, s.waited_ms::float8,
       coalesce(d.durations, '{}') as durations, coalesce(w.waits, '{}') as waits
  from sums s
  left join durations d on d.at = s.at and d.queue = s.queue
  left join waits w on w.at = s.at and w.queue = s.queue
 order by s.queue, s.at;
