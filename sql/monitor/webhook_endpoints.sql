-- Receivers of webhooks that fail, or to which nothing is sent any more.
select id, failing_since, disabled_at, disabled_reason
  from webhook_endpoints
 where failing_since is not null or disabled_at is not null
 order by disabled_at desc nulls last, failing_since;
