-- Makes a job that has not started more urgent than others of its queue: a smaller priority starts first, new jobs have
-- 0. Replace 0 by its id (no job has id 0).
update jobs
   set priority = -10
 where id = 0 and status = 'pending'
returning id, queue, kind, priority;
