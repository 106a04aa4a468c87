-- Creates or changes a schedule; it takes effect at once, without a restart. Unedited it creates a disabled schedule:
-- edit the values. `\d+ schedules` in psql explains each one. cron has five fields, or six with seconds. A time that
-- does not exist when clocks go forward is skipped.
insert into schedules (name, cron, time_zone, queue, kind, payload, overlap, enabled)
values ('nightly', '30 3 * * *', 'Europe/Berlin', 'cleanup', 'soft_deleted_files', '{}', 'skip', false)
    on conflict (name) do update
   set cron = excluded.cron, time_zone = excluded.time_zone, queue = excluded.queue, kind = excluded.kind,
       payload = excluded.payload,
       overlap = excluded.overlap, enabled = excluded.enabled
returning *;
