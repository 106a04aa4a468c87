-- What does each queue hold now? `waiting` is due and not started; it should fall. `failed` waits for a person.
-- `completed` counts everything ever completed. Time does not grow with the history.
select * from queue_depth order by queue;
