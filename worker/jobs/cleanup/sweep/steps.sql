-- What a cleanup checks before it touches the user's tables.

-- name: foreign_tables
-- Of the tables that this transaction has locked, those of roles without our rights. auction_files and media have
-- triggers of ours.
select c.oid::regclass::text as name, c.relowner::regrole::text as owner
  from pg_locks l
  join pg_class c on c.oid = l.relation
 where l.pid = pg_backend_pid() and l.locktype = 'relation'
   and c.relnamespace <> 'pg_catalog'::regnamespace::oid and c.relname not in ('auction_files', 'media')
   and not pg_has_role(c.relowner, current_user, 'member');

-- name: take_turn
-- A later statement sees what the chunk before did, whichever job it belonged to.
select pg_advisory_xact_lock(pg_catalog.hashtextextended(
         'rowmill cleanup ' || current_schema()::text || ' ' || :kind::text, 0::bigint));
