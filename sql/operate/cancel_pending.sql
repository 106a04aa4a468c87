-- Stops all jobs of one kind that have not started. Edit queue and kind: unedited it changes nothing, because there is
-- no such kind. Safe on a busy database: a job that starts at the same moment runs on.
update jobs
   set status = 'cancelled'
 where queue = 'notification' and kind = 'no_such_kind' and status = 'pending';
