-- name: holders
-- What keeps vacuum from clearing dead rows here, the oldest first. A snapshot does so in its own database, and a transaction that has
-- written in all of them, since whoever takes a snapshot meanwhile looks back to where it began. VACUUM does not hold itself back.
-- Of other roles' sessions we may not see since when, and of slots and standbys nobody knows.
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
