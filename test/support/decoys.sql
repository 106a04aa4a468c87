-- What a role plants that may make functions and operators in the schema of our tables, as every role may in public on
-- Postgres 14: a function or an operator whose types fit a call better than those of pg_catalog is called instead, by
-- whoever it is.

-- name: plant
-- Decoys for the operators and functions in `names`, of all `types`. To call one is not allowed to the owner of our
-- tables, so that it shows.
do $plant$
declare
  kind text;
  other text;
  name text;
  made record;
begin
  perform set_config('search_path', 'pg_catalog', true);
  create temporary table kinds as select unnest(current_setting('decoys.types')::text[])::regtype::oid as oid;
  create temporary table names as select unnest(current_setting('decoys.names')::text[]) as name;
  for kind in select oid::regtype from pg_temp.kinds loop
    for other in select oid::regtype from pg_temp.kinds loop
      execute format('create function public.decoy(%s, %s) returns boolean language plpgsql
                        as $$ begin raise exception ''decoy''; end $$', kind, other);
    end loop;
  end loop;
  -- Where pg_catalog has an operator of exactly these types, that one is taken.
  for made in
    select distinct o.oprname as name, l.oid::regtype as l, r.oid::regtype as r
      from pg_operator o, pg_temp.kinds l, pg_temp.kinds r
     where o.oprname in (select n.name from pg_temp.names n) and o.oprkind = 'b'
       and o.oprnamespace = 'pg_catalog'::regnamespace
       and not exists (select from pg_operator e
                        where e.oprname = o.oprname and e.oprleft = l.oid and e.oprright = r.oid
                          and e.oprnamespace = 'pg_catalog'::regnamespace)
  loop
    execute format('create operator public.%s (leftarg = %s, rightarg = %s, function = public.decoy)', made.name,
      made.l, made.r);
  end loop;
  -- For each function, one for every choice of types that it would take by an implicit cast, or that are any to it.
  for made in
    with recursive variants as (
      select p.oid, p.proname as name, array(select unnest(p.proargtypes)) as takes, '{}'::oid[] as given
        from pg_proc p
       where p.proname in (select n.name from pg_temp.names n) and p.pronamespace = 'pg_catalog'::regnamespace
         and p.pronargs between 1 and 3
         and p.prokind in ('f', 'a')
      union all
      select v.oid, v.name, v.takes, v.given || k.oid
        from variants v, pg_temp.kinds k
       where cardinality(v.given) < cardinality(v.takes)
         and (v.takes[cardinality(v.given) + 1] = k.oid
              or exists (select from pg_cast c where c.castsource = k.oid
                and c.casttarget = v.takes[cardinality(v.given) + 1] and c.castcontext = 'i')
              or (select t.typtype = 'p' from pg_type t where t.oid = v.takes[cardinality(v.given) + 1]))
    )
    select distinct v.name,
      array_to_string(array(select format_type(g, null) from unnest(v.given) g), ', ') as arguments
      from variants v
     where cardinality(v.given) = cardinality(v.takes)
       and not exists (select from pg_proc e where e.proname = v.name and array(select unnest(e.proargtypes)) = v.given
         and e.pronamespace = 'pg_catalog'::regnamespace)
  loop
    execute format('create function public.%I(%s) returns boolean language plpgsql
                      as $$ begin raise exception ''decoy''; end $$', made.name, made.arguments);
  end loop;
  -- By the names of its arguments, a function is called with one alone.
  for made in
    select distinct p.proname as name, a.name as argument, k.oid::regtype as kind
      from pg_proc p, unnest(p.proargnames, array(select unnest(p.proargtypes))) as a (name, type), pg_temp.kinds k
     where p.proname in (select n.name from pg_temp.names n) and p.pronamespace = 'pg_catalog'::regnamespace
       and p.pronargdefaults >= p.pronargs
       and exists (select from pg_cast c where c.castsource = k.oid and c.casttarget = a.type and c.castcontext = 'i')
       and a.name in (select n.name from pg_temp.names n)
  loop
      execute format('create function public.%I(%I %s) returns boolean language plpgsql
                        as $$ begin raise exception ''decoy''; end $$', made.name, made.argument, made.kind);
  end loop;
  for made in select p.oid::regprocedure as planted from pg_proc p where p.proowner = current_user::regrole::oid
    and p.prokind = 'f' loop
    execute format('revoke all on function %s from public', made.planted);
  end loop;
end $plant$;
