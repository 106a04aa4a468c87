-- Who wants to hear that jobs ended. A NOTIFY makes every commit that carries one wait for the others (three to four times slower under
-- load), so none is sent unless somebody listens: a client that waits for jobs has a row here, renews it, and removes it.
--
-- Statements that end jobs call announce(): the worker's own by themselves, all others by the trigger jobs_updated.
-- A statement that was under way when the first listener came may not see its row, and says nothing: clients look again.
--
-- Locks: takes none that anybody can be waiting for. Undo: drop the table and announce(), make jobs_updated() that of 0005 and take
-- announce() out of worker/queue/ledger.sql.

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
  language plpgsql security definer
  set search_path from current
  set jit = off
as $$
begin
  if exists (select from listeners where until > clock_timestamp()) then
    perform pg_notify('rowmill_ended',
                      json_build_object('queue', c.queue, 'status', c.status, 'ids', json_agg(c.id order by c.id))::text)
       from (select e.queue, e.status, e.id, (row_number() over (partition by e.queue, e.status order by e.id) - 1) / 400 as chunk
               from unnest(announce.queues, announce.ids, announce.statuses) as e (queue, id, status)) c
      group by c.queue, c.status, c.chunk;
  end if;
end $$;
comment on function announce is 'Tells listeners, if there are any, that jobs ended: on channel rowmill_ended, at commit.';

-- The join must never be a nested loop: its plan is cached when the first UPDATE moves one row, and the next may move 100,000.
create or replace function jobs_updated() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_nestloop = off
  set jit = off
as $$
begin
  perform add_tickets(array_agg(n.queue), array_agg(n.kind), array_agg(n.id), array_agg(n.priority), array_agg(n.run_at))
     from fresh n
     join stale o on o.id = n.id
    where n.status = 'pending'
      and (o.status <> 'pending' or o.run_at <> n.run_at or o.priority <> n.priority)
   having count(*) > 0;

  if exists (select from stale o join fresh n on n.id = o.id where o.status = 'processing' and n.status <> 'processing') then
    perform pg_notify('rowmill', 'stop');
  end if;

  if exists (select from listeners where until > clock_timestamp()) then
    perform announce(array_agg(n.queue), array_agg(n.id), array_agg(n.status))
       from fresh n
       join stale o on o.id = n.id
      where n.status in ('completed', 'failed', 'cancelled') and o.status <> n.status
     having count(*) > 0;
  end if;
  return null;
end $$;
comment on function jobs_updated is 'Jobs that became pending, or whose run_at or priority moved, get a new ticket. Workers are told when a running job was taken from them, and listeners when one ended.';
