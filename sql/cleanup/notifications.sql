-- Notifications from before :cutoff are deleted with their deliveries and events. Those whose job is still to run stay.

-- name: preview
select count(*) as scanned, count(*) as deleted, 0 as skipped
  from notifications n
 where created_at < :cutoff
   and not exists (select from jobs j
                    where j.id = n.job_id and j.queue = 'notification' and j.archived = false
                      and j.status in ('pending', 'processing'));

-- name: purge
with due as materialized (
  select id, created_at from notifications n
   where created_at >= :after and created_at < :cutoff
     and not exists (select from jobs j
                      where j.id = n.job_id and j.queue = 'notification' and j.archived = false
                        and j.status in ('pending', 'processing'))
   order by created_at limit :chunk
     for update skip locked
), gone as (
  delete from notifications where id = any(array(select id from due))
)
select count(*) as scanned, count(*) as deleted, max(created_at) as reached from due;

-- name: repair
-- Events of no delivery that is known: what recipients wrote to your number, or messages of another program.
with old as materialized (
  select provider, provider_event_id from notification_events
   where delivery_id is null and received_at < :cutoff
   limit :chunk
     for update skip locked
), gone as (
  delete from notification_events e using old o
   where e.provider = o.provider and e.provider_event_id = o.provider_event_id
)
select count(*) as repaired from old;
