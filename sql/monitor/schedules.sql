-- What do the schedules add? One row per schedule: its last tick, its next tick, and the result of its last job.
-- `error` says why an enabled schedule adds nothing. If `next_tick` is in the past, no worker runs. `skipped` counts
-- the ticks at which the previous job had not ended.
select * from schedule_status order by name;
