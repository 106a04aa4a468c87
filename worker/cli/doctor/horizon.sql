-- name: holders
-- What keeps vacuum from removing dead rows here, the oldest first. A snapshot does so in its own database. A
-- transaction that has written does so in all databases, because every snapshot taken meanwhile reaches back to where
-- that transaction began. VACUUM does not hold itself back. The age of other roles' sessions may be hidden, and the age
-- of slots and standbys is unknown.
select 'session' as kind, application_name as name, pid, null as database,
       extract(epoch from clock_timestamp() - xact_start)::float8 as age_s,
       greatest(age(backend_xid), age(backend_xmin)) as transactions
  from pg_stat_activity
 where pid <> pg_backend_pid() and leader_pid is null and coalesce(backend_type, '') <> 'walsender'
   and (backend_xid is not null or backend_xmin is not null and datname = current_database())
   and pid not in (select pid from pg_stat_progress_vacuum)
union all
select 'prepared', gid, null, database, extract(epoch from clock_timestamp() - prepared)::float8, age(transaction)
  from pg_prepared_xacts
union all
select 'slot', slot_name, null, null, null, age(xmin)
  from pg_replication_slots
 where xmin is not null
union all
select 'standby', application_name, pid, null, null, age(backend_xmin)
  from pg_stat_replication
 where backend_xmin is not null
 order by age_s desc nulls last, transactions desc;
