-- What the first schema of the search_path holds, from the catalog. In the order in which it was made (by oid), so that
-- the snapshot tells the story the migrations tell; what has no order of its own goes by name.

-- name: server
select current_setting('server_version_num')::integer / 10000 as version, current_schema() as schema;

-- name: sequences
select c.relname as name, format_type(s.seqtypid, null) as type, obj_description(c.oid, 'pg_class') as comment
  from pg_class c
  join pg_sequence s on s.seqrelid = c.oid
 where c.relnamespace = current_schema()::regnamespace
 order by c.oid;

-- name: tables
select c.relname as name, i.inhparent::regclass::text as parent, pg_get_expr(c.relpartbound, c.oid) as bound,
       pg_get_partkeydef(c.oid) as partition_key, array_to_string(c.reloptions, ', ') as options,
       c.relrowsecurity as row_security, c.relforcerowsecurity as forced,
       c.relpersistence = 'u' as unlogged, obj_description(c.oid, 'pg_class') as comment
  from pg_class c
  left join pg_inherits i on i.inhrelid = c.oid
 where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
 order by c.oid;

-- name: columns
-- Of a partition only what it does not share with its parent.
select c.relname as "table", a.attname as name,
  concat_ws(' collate ', format_type(a.atttypid, a.atttypmod), quote_ident(l.collname)) as type,
  a.attnotnull as required,
       pg_get_expr(d.adbin, d.adrelid) as "default",
       nullif(col_description(c.oid, a.attnum), col_description(pa.attrelid, pa.attnum)) as comment,
       i.inhparent is null or pg_get_expr(d.adbin, d.adrelid) is distinct from pg_get_expr(pd.adbin, pd.adrelid) as own
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  left join pg_collation l on l.oid = a.attcollation and l.collname <> 'default' and c.relkind <> 'v'
  left join pg_inherits i on i.inhrelid = c.oid
  left join pg_attribute pa on pa.attrelid = i.inhparent and pa.attname = a.attname
  left join pg_attrdef pd on pd.adrelid = i.inhparent and pd.adnum = pa.attnum
 where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v')
 order by c.oid, a.attnum;

-- name: constraints
-- Postgres 18 lists "not null" here too; the columns say that.
select c.relname as "table", k.conname as name, pg_get_constraintdef(k.oid, true) as definition,
  k.contype = 'f' as foreign_key
  from pg_constraint k
  join pg_class c on c.oid = k.conrelid
 where k.connamespace = current_schema()::regnamespace and k.contype not in ('n', 't') and k.conparentid = 0
   and k.coninhcount = 0
 order by k.contype <> 'p', k.conname collate "C";

-- name: indexes
select c.relname as "table", pg_get_indexdef(x.indexrelid, 0, true) as definition,
       exists (select from pg_depend d join pg_proc p on p.oid = d.refobjid and p.pronamespace = c.relnamespace
                where d.classid = 'pg_class'::regclass and d.objid = x.indexrelid
                  and d.refclassid = 'pg_proc'::regclass) as calls
  from pg_index x
  join pg_class c on c.oid = x.indrelid
  join pg_class ic on ic.oid = x.indexrelid
 where c.relnamespace = current_schema()::regnamespace and not ic.relispartition
   and not exists (select from pg_constraint k where k.conindid = x.indexrelid)
 order by ic.relname collate "C";

-- name: functions
select p.proname as name, pg_get_function_arguments(p.oid) as arguments, pg_get_function_result(p.oid) as result,
       l.lanname as language, p.prosecdef as definer, p.proisstrict as strict, p.proconfig as settings,
       p.prosrc as body,
       case p.provolatile when 'i' then 'immutable' when 's' then 'stable' end as volatility,
       obj_description(p.oid, 'pg_proc') as comment
  from pg_proc p
  join pg_language l on l.oid = p.prolang
 where p.pronamespace = current_schema()::regnamespace
   and not exists (select from pg_depend e where e.objid = p.oid and e.deptype = 'e')
 order by p.oid;

-- name: triggers
select c.relname as "table", pg_get_triggerdef(t.oid, true) as definition
  from pg_trigger t
  join pg_class c on c.oid = t.tgrelid
 where c.relnamespace = current_schema()::regnamespace and not t.tgisinternal and t.tgparentid = 0
 order by c.oid, t.oid;

-- name: views
select c.relname as name, pg_get_viewdef(c.oid, true) as definition, array_to_string(c.reloptions, ', ') as options,
       obj_description(c.oid, 'pg_class') as comment
  from pg_class c
 where c.relnamespace = current_schema()::regnamespace and c.relkind in ('v', 'm')
 order by c.oid;

-- name: policies
select policyname as name, tablename as "table", permissive, roles::text[] as roles, cmd as command, qual as "using",
  with_check
  from pg_policies
 where schemaname = current_schema()
 order by tablename collate "C", policyname collate "C";
