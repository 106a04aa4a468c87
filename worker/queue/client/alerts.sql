-- What people do with alerts. A sweep opens, tells and resolves them.

-- name: list_alerts
-- Open ones first, the newest first among them; then those that were resolved last.
select id, condition, subject, what, cause, solution, query, count, last_at, opened_at, messages, last_sent_at,
       resolved_at, case when silenced_until > clock_timestamp() then silenced_until end as silenced_until,
       case when silenced_until > clock_timestamp() then silenced_by end as silenced_by
  from alerts
 where resolved_at is null or :resolved
 order by resolved_at desc nulls first, opened_at desc, id desc
 limit :limit;

-- name: silence_alerts
update alerts
   set silenced_until = clock_timestamp() + pg_catalog.make_interval(secs => :seconds::float8), silenced_by = :by
 where id = any(:ids) and resolved_at is null
returning id, what, silenced_until;

-- name: unsilence_alerts
update alerts
   set silenced_until = null, silenced_by = null
 where id = any(:ids) and resolved_at is null
returning id, what, silenced_until;
