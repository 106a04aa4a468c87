-- Deletes dead letters that have been dealt with, and their errors. Nothing else does: failed jobs are kept until somebody
-- decides. Edit the code: as it stands it deletes nothing, for there is no such code.
delete from jobs
 where status = 'failed' and error_code = 'no_such_code'
returning id, queue, kind, error;
