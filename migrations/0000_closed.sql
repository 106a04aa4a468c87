-- Everything that these migrations make is closed to everybody but its owner, until a grant opens it for a reason.
--
-- Postgres lets PUBLIC execute each new function, and Supabase's default privileges gave `anon` and `authenticated` every right on each new
-- table, sequence and function. Row level security does not cover TRUNCATE, REFERENCES and TRIGGER. A SECURITY DEFINER function that anybody may put as a
-- trigger on a table of his own runs the casts of that table's types as the owner.
--
-- So after each file the migrator (worker/base/db/migrate.ts) tells after_migration what the file made, and create_queue tells it of its tables.
-- What was in the schema before is the user's, and keeps its grants. A right that is granted later stays.
--
-- A function that an index calls stays open: whoever writes to the table runs it.
--
-- Locks: creates only. Undo: drop the functions and the table.

create table rowmill_objects (
  object text primary key
);
comment on table  rowmill_objects is 'What Rowmill made in this schema. Everything else here is the user''s.';
comment on column rowmill_objects.object is 'As GRANT names it: table jobs, sequence job_ids, routine retry_delay(integer, integer).';

create function close_objects(objects text[] default null) returns void
  language plpgsql
  set search_path from current
as $$
declare
  object text;
  roles  text := 'public';
  role   text;
  kept   oid;
begin
  for role in select r.rolname::text from pg_roles r where r.rolname in ('anon', 'authenticated') loop
    roles := pg_catalog.format('%s, %I', roles, role);
  end loop;
  foreach object in array array(select o.object from rowmill_objects o where objects is null or o.object = any(objects)) loop
    if object like 'routine %' then
      kept := to_regprocedure(substr(object, 9))::oid;
      continue when kept is null;
      if exists (select from pg_depend d
                  where d.refclassid = 'pg_proc'::regclass::oid and d.refobjid = kept and d.classid = 'pg_class'::regclass::oid) then
        execute pg_catalog.format('grant execute on %s to public', object);
        continue;
      end if;
    else
      kept := to_regclass(substr(object, position(' ' in object) + 1))::oid;
      continue when kept is null;
      if exists (select from pg_class c where c.oid = kept and c.relkind in ('r', 'p') and not c.relrowsecurity) then
        execute pg_catalog.format('alter %s enable row level security', object);
      end if;
    end if;
    execute pg_catalog.format('revoke all on %s from %s cascade', object, roles);
  end loop;
end $$;
comment on function close_objects is 'Revokes every right on what Rowmill made, or on these of it, from PUBLIC, and from the roles of Supabase''s browsers where they exist.';

create function after_migration(made text[]) returns void
  language plpgsql
  set search_path from current
as $$
declare
  lacking record;
begin
  insert into rowmill_objects (object) select m from pg_catalog.unnest(made) m on conflict do nothing;
  perform close_objects(made);
  for lacking in
    select p.relid, a.attname, col_description(j.attrelid, j.attnum::integer) as comment
      from pg_partition_tree(to_regclass('jobs')) p
      join pg_attribute j on j.attrelid = to_regclass('jobs')::oid and j.attnum > 0 and not j.attisdropped
      join pg_attribute a on a.attrelid = p.relid::oid and a.attname = j.attname
     where col_description(a.attrelid, a.attnum::integer) is distinct from col_description(j.attrelid, j.attnum::integer)
  loop
    execute pg_catalog.format('comment on column %s.%I is %L', lacking.relid, lacking.attname, lacking.comment);
  end loop;
end $$;
comment on function after_migration is 'Writes down what a migration made, and closes it. The columns of jobs have their comments on each partition, too.';
