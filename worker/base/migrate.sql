-- What is in the schema, so that what a migration made in it can be told from what was there before.

-- name: objects
-- Named as GRANT does. An index and a row type have no rights of their own.
select pg_catalog.format('relation %s', c.oid) as id,
       pg_catalog.format(case c.relkind when 'S' then 'sequence %I' else 'table %I' end, c.relname) as object
  from pg_class c
 where c.relnamespace = (select n.oid from pg_namespace n where n.nspname = current_schema()) and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
union all
select pg_catalog.format('routine %s', p.oid), pg_catalog.format('routine %I(%s)', p.proname, oidvectortypes(p.proargtypes))
  from pg_proc p
 where p.pronamespace = (select n.oid from pg_namespace n where n.nspname = current_schema());

-- name: after_migration
select after_migration(:made);
