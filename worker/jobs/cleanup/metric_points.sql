-- name: find_old_partitions
-- The name of a partition says its month. The numbers are those of the statistics: counting would read all of it.
select c.relname::text as leaf, greatest(c.reltuples::bigint, 0::bigint) as points
  from pg_inherits i
  join pg_class c on c.oid = i.inhrelid
 where i.inhparent = 'metric_points'::regclass::oid and c.relname::text ~ '^metric_points_\d{4}_\d{2}$'::text
   and to_date(substr(c.relname::text, 15), 'YYYY_MM'::text)::timestamp + interval '1 month'
       <= (:cutoff::timestamptz at time zone 'UTC'::text)
 order by c.relname;

-- name: drop_partition
select drop_metric_partition(:leaf) as dropped;
