-- name: archives
-- The archives of queues with so many rows that a search which reads them takes long, by the planner's estimate.
-- `searchable`: there is an index for searches by payload.
select c.oid::regclass::text as name, c.reltuples::float8 as jobs,
       exists (select from pg_index i join pg_class x on x.oid = i.indexrelid join pg_am m on m.oid = x.relam
                where i.indrelid = c.oid and i.indisvalid and m.amname::text = 'gin'::text) as searchable
  from queues q
  join pg_class c on c.oid = to_regclass(quote_ident(q.name || '_jobs_done'))::oid
 where c.reltuples::float8 > 1000000::float8
 order by c.reltuples desc;
