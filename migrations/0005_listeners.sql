-- Who wants to hear that jobs ended. A NOTIFY makes every commit that carries one wait for the others (three to four times slower under
-- load), so none is sent unless somebody listens: a client that waits for jobs has a row here, renews it, and removes it.
--
-- Statements that end jobs call announce(): the worker's own by themselves, all others by the trigger jobs_updated (0006).
-- A statement that was under way when the first listener came may not see its row, and says nothing: clients look again.
--
-- Locks: takes none that anybody can be waiting for. Undo: drop the table and announce(), take announce() out of jobs_updated() and of
-- worker/queue/run/ledger.sql.

create table listeners (
  id    uuid primary key,
  until timestamptz not null
);
comment on table  listeners is 'One row for each client that wants to hear that jobs ended: without any, nothing is notified.';
comment on column listeners.until is 'When it stops to count. Clients renew it every 20 seconds; rows of those that died are deleted by the next that comes.';

alter table listeners enable row level security;

-- A payload must stay below 8000 bytes: 400 ids of 17 characters, with what json puts between them, are 7600.
-- jit: see add_tickets.
create function announce(queues text[], ids bigint[], statuses text[]) returns void
  language plpgsql
  set search_path from current
  set jit = off
as $$
begin
  if exists (select from listeners where until > clock_timestamp()) and pg_notification_queue_usage() < 0.9::float8 then
    perform pg_notify(:'ended',
                      pg_catalog.json_build_object('queue', c.queue, 'status', c.status, 'ids', pg_catalog.json_agg(c.id order by c.id))::text)
       from (select e.queue, e.status, e.id, (row_number() over (partition by e.queue, e.status order by e.id) - 1) / 400 as chunk
               from unnest(announce.queues, announce.ids, announce.statuses) as e (queue, id, status)) c
      group by c.queue, c.status, c.chunk;
  end if;
end $$;
comment on function announce is 'Tells listeners, if there are any, that jobs ended: on the channel <schema>_ended (in public: rowmill_ended), at commit.';
