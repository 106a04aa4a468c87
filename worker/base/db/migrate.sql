-- Lists the objects of a schema before and after a migration, to find out what the migration made.

-- name: objects
-- Named as GRANT names them. An index and a row type have no rights of their own.
select pg_catalog.format('relation %s', c.oid) as id,
       pg_catalog.format(case c.relkind when 'S' then 'sequence %I' else 'table %I' end, c.relname) as object
  from pg_class c
 where c.relnamespace = (select n.oid from pg_namespace n where n.nspname = current_schema())
   and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
union all
select pg_catalog.format('routine %s', p.oid),
       pg_catalog.format('routine %I(%s)', p.proname, oidvectortypes(p.proargtypes))
  from pg_proc p
 where p.pronamespace = (select n.oid from pg_namespace n where n.nspname = current_schema());

-- name: after_migration
select after_migration(:made);

-- name: ledger
-- A role that may create tables in the schema could have created this table, with a trigger that runs as whoever writes
-- to it. pg_has_role says nothing about a superuser, who has the rights of every role, so the owners of the database
-- and of the schema are trusted as well. `lockable`: a role without this right has nothing to migrate either.
select pg_get_userbyid(c.relowner) as owner,
       (pg_has_role(c.relowner, current_user, 'member')
          or c.relowner in ((select d.datdba from pg_database d where d.datname = current_database()), n.nspowner)
          or (pg_has_role(c.relowner, 'usage')
              and not exists (select from pg_roles r where r.rolname = current_user and r.rolsuper))) as trusted,
       has_table_privilege(c.oid, 'update') as lockable
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = :schema and c.relname = :table;
