-- name: limits
-- What limits the connections of this role in this database. Of other roles' sessions, only the application name is
-- visible, not what they do. Superusers are exempt from the limits of roles and databases.
with sessions as (
  select usename, datname,
         coalesce(datname = current_database() and usename = session_user
                  and application_name = current_setting('application_name'), false) as ours
    from pg_stat_activity
   where datid is not null and coalesce(backend_type, 'client backend') = 'client backend'
)
select 'max_connections' as name, current_setting('max_connections')::int as most,
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true)::int, 0) as reserved,
       (select count(*)::int from sessions) as in_use, (select count(*)::int from sessions where ours) as ours
union all
select pg_catalog.format('the connection limit of role %I', rolname), rolconnlimit, 0,
       (select count(*)::int from sessions where usename = session_user),
       (select count(*)::int from sessions where ours)
  from pg_roles
 where rolname = session_user and rolconnlimit >= 0 and not rolsuper
union all
select pg_catalog.format('the connection limit of database %I', datname), datconnlimit, 0,
       (select count(*)::int from sessions where datname = current_database()),
       (select count(*)::int from sessions where ours)
  from pg_database
 where datname = current_database() and datconnlimit >= 0
   and not exists (select from pg_roles where rolname = session_user and rolsuper);
