-- What needs a person, open alerts first: since when, how often people were told, and what to do.
select id, what, count, opened_at, last_at, messages, last_sent_at, resolved_at,
       case when silenced_until > now() then silenced_until end as silenced_until, silenced_by, cause, solution, query
  from alerts
 order by resolved_at desc nulls first, opened_at desc
 limit 50;
