-- How many jobs does each queue have now? `waiting` is due and not started; it should fall. `failed` waits for a
-- person. `completed` counts all jobs ever completed. The time of this query does not grow with the history.
select * from queue_depth order by queue;
