-- What only a message to many users needs. The ledger has the rest.

-- name: give_up
-- Nobody knows whether they were sent, and this job does not ask again.
update notification_deliveries
   set status = 'ambiguous', error_code = 'unknown_outcome', updated_at = clock_timestamp()
 where id = any(:ids::uuid[]) and status = 'sending' and job_id = :job_id and attempt = :attempt;

-- name: end_notification
update notifications
   set status = :status, sent_at = case when :status = 'sent' then clock_timestamp() end
 where message_id = :message_id and status = 'pending';
