-- name: server
select current_setting('server_version_num')::int as version_num, current_setting('server_version') as version,
       current_database() as database, clock_timestamp() as now;

-- name: rights_to_make
-- The tickets need a schema of their own, and the tables are created in ours.
select current_user as role, current_schema() as schema,
       has_database_privilege(current_database()::text, 'create')
         or exists (select from pg_namespace
                     where nspname = case current_schema() when 'public' then 'rowmill_tickets'
                                                           else current_schema()::text || '_tickets' end
                   ) as may_make_schema,
       coalesce(has_schema_privilege(current_schema()::text, 'create'), false) as may_make_tables;

-- name: rights_to_work
select current_user as role,
       (select bool_and(has_table_privilege(t, p))
          from pg_catalog.unnest(array['jobs', 'job_errors', 'job_keys', 'queues', 'workers']) t,
               pg_catalog.unnest(array['select', 'insert', 'update', 'delete']) p)
         and has_schema_privilege(case current_schema() when 'public' then 'rowmill_tickets'
                                                        else current_schema()::text || '_tickets' end,
                                  'usage') as may_work,
       row_security_active('jobs') as sees_no_rows,
       pg_has_role((select relowner from pg_class where oid = 'jobs'::regclass::oid), 'member') as owns;

-- name: has_migrations
select to_regclass('rowmill_migrations') is not null as found;

-- name: migrations
select name, checksum from rowmill_migrations order by name;

-- name: notifications
select pg_notification_queue_usage() as usage;
