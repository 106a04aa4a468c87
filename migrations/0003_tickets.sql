-- Tickets, by which workers find jobs, and notifications, by which clients hear that jobs ended.
--
-- A pending job always has a ticket at its run_at. A ticket is a row of graphile-worker whose task is the queue and
-- whose payload is {"kind": "image", "ids": [17, 18]}. Its kind tells a worker before it starts the jobs which of them
-- it may run as one batch. Tickets are in a schema of Rowmill's own, :"tickets": a schema graphile_worker may be the
-- user's.
--
-- The triggers of 0002 call add_tickets, and so do the worker's own statements that make a job pending
-- (worker/queue/run/ledger.sql). A worker makes missing tickets again (worker/queue/fleet/upkeep.sql).
--
-- Locks: creates only. Undo: drop everything named here, and its calls in 0002 and in ledger.sql.

-- Takes parallel arrays. Jobs of equal queue, kind, priority and run_at share a ticket, up to queues.batch_size on
-- each.
--
-- It writes to graphile-worker's tables instead of calling add_jobs, which notifies the channel jobs:insert: at each
-- insert of ours, every worker of every application on graphile-worker in this database would poll for jobs. Ours have
-- a channel of their own, and the notification names the queue, so that the runners of the other queues sleep on. `due`
-- says how many tickets are due now, `soon` that some are before the next poll.
--
-- A commit that carries a NOTIFY holds a lock of the whole server until it is on the disk, so all such commits wait for
-- one another, the user's included. Therefore an insert notifies only if a worker asked for it: workers.notify names
-- its queues. A worker that hears many notifications takes the queue out of it and polls every few milliseconds. When
-- it has found nothing for a while it puts the queue back (worker/queue/claim/waking.ts). No job is overlooked then:
--
-- - An insert reads workers.notify with a snapshot that it takes when its transaction has an id already. If that shows
--   the queue, it notifies.
-- - If it does not, the transaction had its id before the worker's change could be seen. So a snapshot that the worker
--   takes after the change shows it either as ended: the worker looks once more, and finds the ticket. Or as in
--   progress: the worker looks again when it has ended (worker/queue/claim/uncommitted.ts), which it notices at most
--   20 ms later, or a hundredth of the time for which it waited. The id is that of the top-level transaction, whatever
--   savepoints there are; and a prepared transaction stays in progress.
-- - A transaction that is repeatable read or serializable reads a snapshot that may be older than its id: it always
--   notifies.
--
-- Postgres cannot prepare a transaction that has notified (PREPARE TRANSACTION).
--
-- The settings: without statistics, right after a bulk load, the planner would scan whole tables (enable_seqscan). The
-- trigger that calls this has turned nested loops off for its own join, and the joins here need them (enable_nestloop).
-- With either off, plans look so costly that up to Postgres 17 they would be compiled first, which takes longer than to
-- run them (jit); and that planning again for each call would seem worth it, which was three quarters of the time of a
-- single insert (plan_cache_mode).
create function add_tickets(
  queues text[], kinds text[], ids bigint[], priorities smallint[], run_ats timestamptz[]
) returns void
  language plpgsql
  set search_path from current
  set enable_seqscan = off
  set enable_nestloop = on
  set jit = off
  set plan_cache_mode = force_generic_plan
as $$
declare
  always boolean := current_setting('transaction_isolation') in ('repeatable read', 'serializable');
  told   bigint;
begin
  -- The transaction gets its id before the next statement takes its snapshot. A `select add_tickets(...)` has none yet.
  if add_tickets.ids is null or pg_current_xact_id() is null then
    return;
  end if;

  -- One job, which is most inserts, at two thirds of the cost.
  if pg_catalog.cardinality(add_tickets.ids) = 1 then
    insert into :"tickets"._private_jobs (task_id, payload, run_at, max_attempts, priority)
    select t.id, pg_catalog.json_build_object('kind', kinds[1], 'ids', add_tickets.ids), run_ats[1], 32767,
           priorities[1]
      from :"tickets"._private_tasks t
     where t.identifier = add_tickets.queues[1];
    if found then
      if run_ats[1] < clock_timestamp() + interval '3 seconds'
         and (always or exists (select from workers w where add_tickets.queues[1] = any(w.notify)))
         and pg_notification_queue_usage() < 0.9::float8 then
        -- random(): Postgres sends only one of several equal notifications of a transaction.
        perform pg_notify(:'workers', case when run_ats[1] <= clock_timestamp()
                                             then pg_catalog.format('due %s 1 %s', add_tickets.queues[1], random())
                                           else 'soon ' || add_tickets.queues[1] end);
      end if;
      return;
    end if;
  end if;

  insert into :"tickets"._private_tasks (identifier)
  select distinct q
    from pg_catalog.unnest(add_tickets.queues) q
   where not exists (select from :"tickets"._private_tasks t where t.identifier = q)
      on conflict do nothing;

  with specs as materialized (
    select c.queue, c.kind, c.priority, c.run_at, pg_catalog.json_agg(c.id order by c.id) as ids, min(c.id) as first_id
      from (select j.*,
                   (row_number() over (partition by j.queue, j.kind, j.priority, j.run_at order by j.id) - 1)
                     / coalesce(q.batch_size, 1) as chunk
              from unnest(add_tickets.queues, add_tickets.kinds, add_tickets.ids,
                          add_tickets.priorities, add_tickets.run_ats) as j (queue, kind, id, priority, run_at)
              left join queues q on q.name = j.queue) c
     group by c.queue, c.kind, c.priority, c.run_at, c.chunk
  ), added as (
    insert into :"tickets"._private_jobs (task_id, payload, run_at, max_attempts, priority)
    select t.id, pg_catalog.json_build_object('kind', s.kind, 'ids', s.ids), s.run_at, 32767, s.priority
      from specs s
      join :"tickets"._private_tasks t on t.identifier = s.queue
     order by s.first_id
  )
  select count(pg_notify(:'workers', case when n.due > 0
                                            then pg_catalog.format('due %s %s %s', n.queue, n.due, random())
                                          else 'soon ' || n.queue end))
    into told
    from (select s.queue, count(*) filter (where s.run_at <= clock_timestamp()) as due, min(s.run_at) as first_at
            from specs s
           group by s.queue) n
   where (n.due > 0 or n.first_at < clock_timestamp() + interval '3 seconds')
     and (always or exists (select from workers w where n.queue = any(w.notify)))
     and pg_notification_queue_usage() < 0.9::float8;
end $$;
comment on function add_tickets is
  'Makes tickets for pending jobs, and notifies the workers that want to be notified.';

-- A commit that carries a NOTIFY waits for the other commits that do: three to four times slower under load. So nobody
-- is notified of a job's end unless a client waits for one: it has a row in listeners, renews it, and removes it. A
-- statement that began before the first client's row was committed may not see it and not notify: clients also read the
-- jobs' rows.
create table listeners (
  id    uuid primary key,
  until timestamptz not null
);
comment on table  listeners is
  'One row for each client that wants to hear that jobs ended. Without any, nothing is notified.';
comment on column listeners.until is
  'Until when it counts. A client renews it every 20 seconds, and deletes the rows of clients that died.';

-- A notification must be below 8,000 bytes: 400 ids of 17 characters, with the separators of JSON, are 7,600.
-- For jit see add_tickets.
create function announce(queues text[], ids bigint[], statuses text[]) returns void
  language plpgsql
  set search_path from current
  set jit = off
as $$
begin
  if exists (select from listeners where until > clock_timestamp()) and pg_notification_queue_usage() < 0.9::float8 then
    perform pg_notify(:'ended',
                      pg_catalog.json_build_object('queue', c.queue, 'status', c.status,
                                                   'ids', pg_catalog.json_agg(c.id order by c.id))::text)
       from (select e.queue, e.status, e.id,
                    (row_number() over (partition by e.queue, e.status order by e.id) - 1) / 400 as chunk
               from unnest(announce.queues, announce.ids, announce.statuses) as e (queue, id, status)) c
      group by c.queue, c.status, c.chunk;
  end if;
end $$;
comment on function announce is
  'Notifies clients, if there are any, that jobs ended: at commit, on the channel <schema>_ended (in public: '
  'rowmill_ended).';
