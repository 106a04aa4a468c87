-- Keeps the tables small and their invariants true. One worker does it at a time.

-- name: upkeep_lock
-- A table that is locked is skipped until next time: a transaction that waits for it would hold up the other queues. An
-- advisory lock writes nothing, so an idle run costs no commit. But every role of the database may take one: if a
-- session of another role holds it, a lock on a row of ours stands in for it.
select set_config('lock_timeout', '1s', true),
       case when pg_try_advisory_xact_lock(u.key) then true
            else exists (select from rowmill_objects
                          where object = 'table jobs'
                            and exists (select from pg_locks l
                                          join pg_stat_activity a on a.pid = l.pid and a.usename <> session_user
                                         where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                                           and l.database = (select oid from pg_database
                                                              where datname = current_database())
                                           and (l.classid::bigint << 32 | l.objid::bigint) = u.key)
                            for no key update skip locked) end as ours
  from (select hashtextextended('rowmill upkeep ' || current_schema()::text, 0::bigint) as key) u;

-- name: upkeep_due
-- Which of these queues have a job to archive or to prune, and how many workers there are. With lateral joins: for an
-- `exists` the planner may read whole tables. Of the archive its oldest job says it: a condition on its age would make
-- the planner read all of a large archive of which nothing is due.
select coalesce(pg_catalog.array_agg(q.name) filter (where coalesce(finished.found, kept.found)), '{}') as due,
       (select count(*) from workers) as workers
  from queues q
  left join lateral (select true as found from jobs j
                      where j.queue = q.name and not j.archived and j.status in ('completed', 'cancelled')
                        and j.completed_at < now() - q.archive_after
                      limit 1) finished on true
  left join lateral (select j.completed_at < now() - q.keep_completed as found from jobs j
                      where j.queue = q.name and j.archived
                      order by j.completed_at limit 1) kept on true
 where q.name = any(:queues);

-- name: count_large_queues
-- For queue_counts(), in a transaction with upkeep_lock.
select count_large_queues() as queues;

-- name: archive_jobs
-- After a while, so that a job that has just ended can be run again without taking it out of the archive. With arrays
-- instead of joins: between a prune and the next vacuum, the statistics may say anything, and a join would compare each
-- row with each.
with finished as (
  select pg_catalog.array_agg(id) as ids
    from (select id from :"live"
           where status in ('completed', 'cancelled')
             and completed_at < now() - (select archive_after from queues where name = :queue)
           limit 5000
             for update skip locked) f
), doubled as (
  -- If an id is in the archive already, somebody gave it to two jobs: it must not keep the others from being archived.
  select coalesce(pg_catalog.array_agg(d.id), '{}') as ids
    from :"done" d where d.id = any((select ids from finished)::bigint[])
), moved as (
  update :"jobs" j set archived = true
   where j.id = any((select ids from finished)::bigint[]) and j.archived = false
     and j.id <> all((select ids from doubled)::bigint[])
  returning j.status
), counted as (
  update queues set archived_completed = archived_completed + m.completed
    from (select count(*) filter (where status = 'completed') as completed from moved) m
   where name = :queue and m.completed > 0
)
select count(*) as jobs from moved;

-- name: prune_jobs
-- In order, so that the index is used.
with pruned as (
  delete from :"jobs" j
   where j.id = any(array(select id from :"done"
                           where completed_at < (select now() - keep_completed from queues where name = :queue)
                           order by completed_at
                           limit 5000))
     and j.archived = true
  returning j.id
)
select count(*) as jobs from pruned;

-- name: prunable_jobs
select count(*) as jobs from :"done"
 where completed_at < (select now() - keep_completed from queues where name = :queue);

-- name: vacuum
-- Space of moved and pruned rows is reused only after a vacuum, and autovacuum runs once a minute. Without truncation,
-- which would block everybody for a moment.
vacuum (truncate false, skip_locked) :"live", :"done", :"tickets"._private_jobs;

-- name: repairs_due
-- Which of these queues have an overdue job, which may be on no ticket, or one that is processing without a worker:
-- only there can something be broken.
select coalesce(pg_catalog.array_agg(q.name), '{}') as due
  from queues q
 cross join lateral (select true as found from jobs j
                      where j.queue = q.name and not j.archived
                        and (j.status = 'pending' and j.run_at < clock_timestamp() - interval '30 seconds'
                             or j.status = 'processing'
                                and not exists (select from workers w where w.id = j.locked_by))
                      limit 1) odd
 where q.name = any(:queues);

-- name: reticket_jobs
-- Jobs that are pending, overdue, and on no ticket: this should not happen, and is repaired here. A ticket that was
-- claimed long ago may have been lost on the way to its worker. graphile-worker's public view does not show payloads.
with ticketed as (
  select json_array_elements_text(t.payload -> 'ids'::text)::bigint as id
    from :"tickets"._private_jobs t
    join :"tickets"._private_tasks k on k.id = t.task_id
   where k.identifier = :queue
     and ((t.locked_at is null and t.run_at <= now())
          or t.locked_at between now() - interval '5 minutes' and now() + interval '1 minute')
), forgotten as (
  select j.queue, j.kind, j.id, j.priority, j.run_at from :"live" j
   where j.status = 'pending' and j.run_at < clock_timestamp() - interval '30 seconds'
     -- Those of a paused queue are found when it is resumed.
     and (select not q.paused from queues q where q.name = :queue)
     and not exists (select from ticketed t where t.id = j.id)
     -- Jobs that an incident holds have no tickets until it ends.
     and not exists (select from held_kinds h where h.queue = j.queue and h.kind = j.kind and h.everywhere)
)
select count(*) as jobs,
       add_tickets(pg_catalog.array_agg(queue), pg_catalog.array_agg(kind), pg_catalog.array_agg(id),
                   pg_catalog.array_agg(priority), pg_catalog.array_agg(run_at)) as ticketed
  from forgotten;

-- name: orphaned_jobs
-- Jobs that are processing without a worker: set so by hand, or left by a worker whose row was deleted by hand.
select id, attempt, locked_by from :"live" j
 where status = 'processing' and not exists (select from workers w where w.id = j.locked_by)
   for update skip locked;

-- name: unlock_orphaned
-- Tickets locked by a pool of no known worker: it died before it could register the pool.
select :"tickets".force_unlock_workers(pg_catalog.array_agg(distinct locked_by)) as unlocked
  from :"tickets".jobs
 where locked_at not between clock_timestamp() - interval '1 minute' and clock_timestamp() + interval '1 minute'
   and task_identifier in (select name from queues)
   and locked_by not in (select pg_catalog.unnest(pools) from workers)
having count(*) > 0;
