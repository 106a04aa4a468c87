-- Adds a job by the clock; takes effect at once, and needs no restart. As it stands it makes a schedule that is disabled: edit the values.
-- `\d+ schedules` in psql explains each one. cron has five fields, or six with seconds. A time that the zone leaves out when its clocks go
-- forward is left out.
insert into schedules (name, cron, time_zone, queue, kind, payload, overlap, enabled)
values ('nightly', '30 3 * * *', 'Europe/Berlin', 'cleanup', 'soft_deleted_files', '{}', 'skip', false)
    on conflict (name) do update
   set cron = excluded.cron, time_zone = excluded.time_zone, queue = excluded.queue, kind = excluded.kind, payload = excluded.payload,
       overlap = excluded.overlap, enabled = excluded.enabled
returning *;
