-- What does the clock add? One row a schedule: its last tick and its next, and what became of its last job. `error` says why one that is
-- enabled adds nothing; a `next_tick` in the past, that no worker runs; `skipped` counts the ticks whose predecessor had not ended.
select * from schedule_status order by name;
