-- Of which messages does nobody know whether they were sent? The newest first. Look at the provider, under the time and
-- the id, whether the message went out. If it did not, retry its job with operate/retry_job.sql: it is sent again. A
-- report of the provider that comes later takes the row off this list.
select d.sending_at, d.channel, d.provider, d.provider_message_id, d.error_code, d.id as delivery_id, n.message_id,
       n.target_user_id, d.job_id, j.kind, j.status as job_status
  from notification_deliveries d
  join notifications n on n.id = d.notification_id
  left join jobs j on j.queue = 'notification' and j.id = d.job_id
 where d.status = 'ambiguous'
 order by d.updated_at desc
 limit 100;
