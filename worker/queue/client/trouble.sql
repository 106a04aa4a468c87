-- What needs a person, beside what fleetStatus counts. The statements of trouble.ts.

-- name: paused_queues
select name as queue, paused_at, paused_by from queues where paused order by name;

-- name: rejected_messages
-- Counted up to a bound: a producer gone wrong may have sent millions.
select source, reason, count(*) as messages, min(created_at) as first_at, max(created_at) as last_at,
       count(*) = 100000 as more
  from (select source, reason, created_at from rejected_messages order by id desc limit 100000) r
 group by source, reason
 order by messages desc, source, reason;

-- name: try_incident
-- The workers ask each second which check or probe is due.
update incidents set checked_at = '-infinity', probe_at = clock_timestamp()
 where id = :id and resolved_at is null
returning dependency, host, code;
