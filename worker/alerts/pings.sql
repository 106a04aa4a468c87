-- Pings: what a service outside hears of schedules and of the fleet. See migrations/0024_alerts.sql.

-- name: claim_pings
-- The job has started or ended, and that is not told yet. Until next_at no other worker tells it. Each try waits
-- longer.
with due as (
  select p.job_id, j.status, j.error_code
    from schedule_pings p
    left join lateral (select status, error_code from jobs where id = p.job_id limit 1) j on true
   where p.next_at <= clock_timestamp()
     and (j.status is null or j.status in ('completed', 'failed', 'cancelled')
          or (j.status = 'processing' and not p.started))
   order by p.next_at
   limit 20
     for update of p skip locked
)
update schedule_pings p
   set tries = p.tries + 1,
       next_at = clock_timestamp() + pg_catalog.make_interval(secs => 30::float8 * (p.tries + 1)::float8)
  from due d
 where p.job_id = d.job_id
returning p.job_id, p.schedule, p.url, p.tries, d.status, d.error_code,
          (select pg_catalog.concat_ws(' ', x.what, x.cause, x.solution)
             from explain_code(d.error_code) x) as explained;

-- name: note_started
update schedule_pings set started = true, tries = 0, next_at = clock_timestamp() where job_id = :job_id;

-- name: delete_ping
delete from schedule_pings where job_id = :job_id;

-- name: claim_fleet_ping
-- Once a minute over the whole fleet, and only while it works: this process has claimed jobs, or none has been due for
-- ten seconds in a queue that is not paused.
update alert_turn
   set pinged_at = clock_timestamp()
 where the_one = (select t.the_one from alert_turn t
                   where t.pinged_at < clock_timestamp() - interval '55 seconds'
                     for update skip locked)
   and (:claimed::boolean
        or not exists (select from queues q
                        cross join lateral (select from jobs j
                                             where j.queue = q.name and not j.archived and j.status = 'pending'
                                               and j.run_at < clock_timestamp() - interval '10 seconds'
                                             limit 1) due
                        where not q.paused))
returning pinged_at;
