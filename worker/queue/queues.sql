-- name: read_queues
select name, paused, batch_size, timeout_ms, rate_limit from queues
 where to_regclass(quote_ident(name || '_jobs_live')) is not null
 order by name;
