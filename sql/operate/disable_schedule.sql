-- Disables a schedule at once; with `true` it enables it from then on. Edit the name. Jobs that it has added still run.
update schedules set enabled = false where name = 'no_such_schedule'
returning name, enabled;
