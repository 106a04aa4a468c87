-- What a schema contains that migrations would create, or use.

-- name: taken
-- A table or a view is also a type of its name. A function with another signature clashes, too: `comment on function`
-- names no arguments.
select case c.relkind when 'S' then 'sequence' when 'v' then 'view' when 'm' then 'materialized view'
                      when 'i' then 'index' when 'I' then 'index' when 'c' then 'type' else 'table' end as what,
       c.relname as name
  from pg_class c
 where c.relnamespace = :schema::text::regnamespace::oid and c.relname = any(:relations)
union
select 'type', t.typname
  from pg_type t
 where t.typnamespace = :schema::text::regnamespace::oid and t.typname = any(:relations)
   and t.typrelid = 0::oid and t.typelem = 0::oid
union
select 'function', p.proname
  from pg_proc p
 where p.pronamespace = :schema::text::regnamespace::oid and p.proname = any(:functions)
 order by 1 desc, 2;

-- name: used_table
-- The checks, defaults and triggers of a table run as the role that writes to it, so its owner must be trusted.
-- pg_has_role says nothing about a superuser, who has the rights of every role.
select c.relkind in ('r', 'p') as is_table, pg_get_userbyid(c.relowner) as owner,
       pg_has_role(c.relowner, 'usage')
         and (pg_has_role(c.relowner, current_user, 'member')
              or c.relowner in ((select d.datdba from pg_database d where d.datname = current_database()), n.nspowner)
              or (pg_has_role(c.relowner, 'usage')
                  and not exists (select from pg_roles r where r.rolname = current_user and r.rolsuper))) as ours,
       exists (select from pg_index x
                where x.indrelid = c.oid and x.indisunique and x.indpred is null and x.indnkeyatts = 1
                  and x.indkey[0] = (select attnum from pg_attribute where attrelid = c.oid and attname = 'id')
              ) as id_is_unique
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relnamespace = :schema::text::regnamespace::oid and c.relname = :name;

-- name: used_columns
select a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
       format_type(coalesce(nullif(t.typbasetype, 0::oid), t.oid), null::integer) as base,
       t.typtype = 'e' as is_enum, a.attgenerated <> '' as is_generated,
       array(select pg_get_expr(k.conbin, k.conrelid) from pg_constraint k
              where k.conrelid = a.attrelid and k.contype = 'c'
                and k.conkey operator(pg_catalog.=) array[a.attnum]) as checks
  from pg_attribute a
  join pg_type t on t.oid = a.atttypid
 where a.attrelid = (select c.oid from pg_class c
                      where c.relnamespace = :schema::text::regnamespace::oid and c.relname = :name)
   and a.attnum > 0 and not a.attisdropped;

-- name: tickets_taken
select exists (select from pg_class where relnamespace = to_regnamespace(quote_ident(:tickets))) as found;
