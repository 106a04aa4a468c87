-- Who is not written to, and how many messages were skipped for it in the last day? Recipients in `suppressions` by
-- channel, list and reason; the list is empty where all messages of the channel are meant. A bounce or a complaint that
-- suddenly is frequent says that a list of addresses is bad. To write to a recipient again, delete the row.
with skipped as (
  select channel, count(*) as messages
    from notification_deliveries
   where status = 'skipped' and error_code = 'suppressed' and updated_at > now() - interval '1 day'
   group by channel
)
select s.channel, s.list, s.reason, count(*) as recipients,
       count(*) filter (where s.since > now() - interval '1 day') as new_in_last_day, max(s.since) as newest,
       coalesce(max(k.messages), 0) as skipped_in_channel_last_day
  from suppressions s
  left join skipped k on k.channel = s.channel
 group by s.channel, s.list, s.reason
 order by recipients desc, s.channel, s.list, s.reason;
