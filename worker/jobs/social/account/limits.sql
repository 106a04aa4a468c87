-- How long accounts and platforms are left alone.

-- name: limit_of
-- The longest wait of those.
select l.reason, extract(epoch from l.until - clock_timestamp())::float8 * 1000::float8 as wait_ms
  from social_limits l
 where l.key = any(:keys) and l.until > clock_timestamp()
 order by l.until desc
 limit 1;

-- name: put_limit
-- For so many milliseconds, or until the next day begins in a time zone.
insert into social_limits as l (key, until, reason)
values (:key,
        case when :zone::text is null
             then clock_timestamp() + pg_catalog.make_interval(secs => :wait_ms::float8 / 1000::float8)
             else (date_trunc('day', clock_timestamp() at time zone :zone::text) + interval '1 day')
                  at time zone :zone::text end,
        :reason)
    on conflict (key) do update
   set until = excluded.until, reason = excluded.reason, updated_at = clock_timestamp()
returning extract(epoch from until - clock_timestamp())::float8 * 1000::float8 as wait_ms;

-- name: posts_of_day
-- Submits of an account or of a platform since the day began in a time zone, or within 24 hours; and when the next one
-- is free.
select count(*) as posts,
       extract(epoch from coalesce(
         (date_trunc('day', clock_timestamp() at time zone :zone::text) + interval '1 day') at time zone :zone::text,
         min(a.sent_at) + interval '24 hours') - clock_timestamp())::float8 * 1000::float8 as wait_ms
  from social_attempts a
  join social_posts p on p.id = a.post_id
 where p.platform = :platform and (:account_id::bigint is null or p.account_id = :account_id)
   and (:type::text is null or p.settings ->> 'type'::text = :type)
   and a.status <> 'definite_failure' and a.post_id <> :post_id
   and a.sent_at >= coalesce(date_trunc('day', clock_timestamp() at time zone :zone::text) at time zone :zone::text,
                             clock_timestamp() - interval '24 hours');
