-- Whether a worker lives, said in one place: by the sweep, by `rowmill status`, and by people in SQL.
--
-- Locks: none. Undo: drop the function.

create function worker_is_alive(worker uuid) returns boolean
  language sql stable
as $$
  select exists (select from pg_locks l
                  where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                    and l.database = (select oid from pg_database where datname = current_database())
                    and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(worker::text, 0::bigint))
$$;
comment on function worker_is_alive is 'Whether the session of this row of workers holds its lock. Looked up and not tried, for whoever tries it may keep the worker from taking it.';
