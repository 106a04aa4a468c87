-- What have the cleanups done lately, and what is still to be deleted from storage? If rows of storage_deletions grow
-- old, storage refuses to delete them.
select kind, cutoff, dry_run, scanned, deleted, pg_size_pretty(bytes) as size, skipped, errors, remaining,
       finished_at - started_at as took
  from cleanup_logs
 order by started_at desc
 limit 50;

select reason, error_code, count(*) as objects, pg_size_pretty(sum(bytes)) as size,
       min(created_at) as oldest, max(attempts) as attempts,
       min(due_at) as next_try
  from storage_deletions
 group by reason, error_code
 order by objects desc;
