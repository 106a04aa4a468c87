-- Attacks by a role that should have no rights. The objects to attack come from Postgres's catalogue. `theirs` are the
-- user's own tables and functions, which are left out.

-- name: exposed
-- The rights that a role has, by itself or through PUBLIC, in the words of GRANT.
with relations as (
  select c.oid, c.relname, c.relkind from pg_class c
   where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
     and c.relname <> all(:theirs)
)
select format('%s: %s', r.relname, p) as right
  from relations r, unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) p
 where r.relkind <> 'S' and has_table_privilege(:role, r.oid, p)
union all
select format('%s: %s (%s)', r.relname, p, string_agg(a.attname, ', ' order by a.attnum))
  from relations r, unnest(array['select', 'insert', 'update', 'references']) p, pg_attribute a
 where r.relkind <> 'S' and not has_table_privilege(:role, r.oid, p)
   and a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped and has_column_privilege(:role, r.oid, a.attnum, p)
 group by r.relname, p
union all
select format('%s: %s', r.relname, p)
  from relations r, unnest(array['usage', 'select', 'update']) p
 where r.relkind = 'S' and has_sequence_privilege(:role, r.oid, p)
union all
select format('%s: execute', f.oid::regprocedure)
  from pg_proc f
 where f.pronamespace = quote_ident(current_schema())::regnamespace and f.proname <> all(:theirs)
   and has_function_privilege(:role, f.oid, 'execute')
 order by 1;

-- name: attempts
-- A statement for each thing that can be done to each object. `needs` names the object and the right that is needed.
with relations as (
  select c.oid, c.relname, c.relkind, c.relpersistence, format('%I.%I', current_schema(), c.relname) as name,
         (select quote_ident(a.attname) from pg_attribute a where a.attrelid = c.oid and a.attnum = 1) as first
    from pg_class c
   where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
     and c.relname <> all(:theirs)
), functions as (
  select f.oid, f.prorettype = 'trigger'::regtype as is_trigger, format('%I.%I', current_schema(), f.proname) as name,
         array_to_string(array(select case when f.provariadic <> 0
           and i = f.pronargs then 'variadic ' else '' end || 'null::' || format_type(t, null)
                                 from unnest(f.proargtypes) with ordinality as a (t, i)), ', ') as nulls
    from pg_proc f
   where f.pronamespace = quote_ident(current_schema())::regnamespace and f.proname <> all(:theirs)
)
select format('%s: %s', r.relname, t.verb) as needs, format(t.statement, r.name, r.first) as statement
  from relations r,
       (values ('select',   'select from %s'),
               ('insert',   'insert into %s default values'),
               ('update',   'update %s set %s = default'),
               ('delete',   'delete from %s'),
               ('truncate', 'truncate %s'),
               ('trigger',  'create trigger z before insert on %s for each statement
                               execute function suppress_redundant_updates_trigger()'),
               ('trigger',  'create trigger z after update on %s referencing new table as fresh for each statement
                               execute function pg_temp.listening()'),
               ('owner',    'alter table %s disable row level security'),
               ('owner',    'create policy z on %s using (true)')) t (verb, statement)
 where r.relkind not in ('S', 'v') or (r.relkind = 'v' and t.verb = 'select')
union all
select format('%s: references', r.relname),
       format('create %s table lair.refers (%s, foreign key (%s) references %s)', case
         when r.relpersistence = 'u' then 'unlogged' end,
              string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', '),
              string_agg(quote_ident(a.attname), ', '), r.name)
  from relations r
  join pg_constraint k on k.conrelid = r.oid and k.contype = 'p'
  join pg_attribute a on a.attrelid = r.oid and a.attnum = any(k.conkey)
 group by r.relname, r.name, r.relpersistence, k.oid
union all
select format('%s: %s', r.relname, t.verb), format(t.statement, r.name)
  from relations r,
       (values ('usage', 'select nextval(%L)'), ('update', 'select setval(%L, 1)'),
         ('select', 'select last_value from %s')) t (verb, statement)
 where r.relkind = 'S'
union all
select format('%s: execute', f.oid::regprocedure),
       case when f.is_trigger
            then format('create trigger z before insert on pg_temp.m for each row execute function %s()', f.name)
            else format('select %s(%s)', f.name, f.nulls) end
  from functions f;

-- name: misuses
-- Statements that use each trigger function that runs as its owner (security definer) in a trigger on the caller's own
-- tables, with each timing and event.
select format('%s on %s: %s', f.proname, m, t.timing) as needs,
       format('create trigger z %s for each %s execute function %I.%I(%L, %L); %s', format(t.timing, m), t.each,
         current_schema(), f.proname, 'key', 'publish',
              format(t.statement, m)) as statement
  from pg_proc f,
       unnest(:tables::text[]) m,
       (values ('before insert on %s', 'row', 'insert into %s default values'),
               ('after insert on %s', 'row', 'insert into %s default values'),
               ('before update on %s', 'row', 'update %1$s set id = id'),
               ('after update on %s', 'row', 'update %1$s set id = id'),
               ('before delete on %s', 'row', 'delete from %s'),
               ('after delete on %s', 'row', 'delete from %s'),
               ('after insert on %s referencing new table as fresh', 'statement', 'insert into %s default values'),
               ('after update on %s referencing old table as stale new table as fresh', 'statement',
                 'update %1$s set id = id'),
               ('after delete on %s referencing old table as stale', 'statement', 'delete from %s'),
               ('after truncate on %s', 'statement', 'truncate %s')) t (timing, each, statement)
 where f.pronamespace = quote_ident(current_schema())::regnamespace and f.prorettype = 'trigger'::regtype
   and f.prosecdef and f.proname <> all(:theirs);

-- name: columns
-- The names of the columns of all tables. On a table that has all of them, each trigger function finds the columns that
-- it names.
select distinct quote_ident(a.attname) as name
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid
 where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0
   and not a.attisdropped;

-- name: try_all
select t.needs, t.statement, pg_temp.attempt(t.statement) as came
  from jsonb_to_recordset(:attempts) as t (needs text, statement text);
