-- Which sessions keep vacuum from removing dead rows? While a transaction stays open (`xmin_age` is how many began
-- since), every table grows and all queues get slower. Minutes are too long: end the transaction, or run select
-- pg_terminate_backend(<pid>). Only a superuser and members of pg_read_all_stats see what other roles run.
select 'session ' || pid as held_by, usename as role, application_name as application, state,
       date_trunc('second', now() - xact_start) as open_for, age(backend_xmin) as xmin_age, left(query, 100) as query
  from pg_stat_activity
 where backend_xmin is not null and pid <> pg_backend_pid() and (datname is null or datname = current_database())
union all
select 'prepared transaction ' || gid, owner, null, null, date_trunc('second', now() - prepared), age(transaction), null
  from pg_prepared_xacts
 where database = current_database()
union all
select 'replication slot ' || slot_name, null, null, case when active then 'active' else 'inactive' end, null,
       age(coalesce(xmin, catalog_xmin)), null
  from pg_replication_slots
 where xmin is not null or catalog_xmin is not null
 order by xmin_age desc nulls last;
