-- name: last_final_day
select min((clock_timestamp() at time zone a.time_zone)::date - 1 - a.final_days::integer)::text as last
  from analytics_accounts a
 where a.id = any(:accounts::bigint[]);

-- name: save_report
-- A job that somebody runs again writes its row again.
insert into analytics_reports as r (job_id, first_day, last_day, facts, markdown, html)
values (:job_id, :first::date, :last::date, :facts::jsonb, :markdown, :html)
    on conflict (job_id) do update
   set first_day = excluded.first_day, last_day = excluded.last_day, facts = excluded.facts,
       markdown = excluded.markdown, html = excluded.html, created_at = clock_timestamp()
returning id;
