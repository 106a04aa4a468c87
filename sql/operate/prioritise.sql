-- Lets a job that has not started go before the others of its queue: smaller starts first, new jobs have 0. Put its id in place
-- of 0 (no job has that one).
update jobs
   set priority = -10
 where id = 0 and status = 'pending'
returning id, queue, kind, priority;
