-- What part of the messages of the last hour did not arrive, and why? By channel, provider and error_code, with what
-- error_codes says about each. `percent` is the part of all messages of this provider. A job that failed before it had
-- a recipient, such as one with an invalid payload, has no delivery: errors_by_code.sql has it.
with ended as (
  select channel, provider, case when status in ('failed', 'bounced', 'ambiguous') then status end as failed,
         error_code, count(*) as messages, max(updated_at) as last_at
    from notification_deliveries
   where updated_at > now() - interval '1 hour' and status not in ('queued', 'sending', 'skipped')
   group by 1, 2, 3, 4
), shares as (
  select *, round(100.0 * messages / sum(messages) over (partition by channel, provider), 1) as percent from ended
)
select s.channel, s.provider, s.failed as status, s.error_code, s.messages, s.percent, s.last_at, e.cause, e.solution
  from shares s
  left join error_codes e on e.code = s.error_code
 where s.failed is not null
 order by s.messages desc, s.channel, s.provider, s.error_code;
