-- Are the tables small? Live leaves should have megabytes, and `dead_rows` not far above `rows`. The usual reason for a
-- leaf of gigabytes, or a last_autovacuum long ago, is a long transaction (long_transactions.sql).
select s.relname as name, pg_size_pretty(pg_total_relation_size(s.relid)) as size,
       s.n_live_tup as rows, s.n_dead_tup as dead_rows, s.last_autovacuum, s.last_autoanalyze
  from pg_stat_user_tables s
 where s.relid in (select relid from pg_partition_tree('jobs') where isleaf)
    or s.relid in ('job_errors'::regclass, 'job_keys'::regclass)
    or s.schemaname = 'rowmill_tickets'
 order by pg_total_relation_size(s.relid) desc;
