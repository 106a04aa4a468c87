-- Lets a schedule add no more jobs, at once; `true` lets it again, from then on: edit the name. What it has added runs.
update schedules set enabled = false where name = 'no_such_schedule'
returning name, enabled;
