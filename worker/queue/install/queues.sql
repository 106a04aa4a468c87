-- The queues of a database, as people create and change them.

-- name: create_queue
select create_queue(:queue, batch_size => :batch_size, max_retries => :max_retries,
                    backoff_ms => :backoff_ms, kind => :kind);

-- name: set_queue
-- A setting that is not named does not change.
update queues q
   set (batch_size, max_retries, backoff_ms, backoff, timeout_ms, rate_limit, max_payload_bytes, snooze_limit,
        keep_completed, archive_after, incident_patience, keep_sensitive)
     = (select n.batch_size, n.max_retries, n.backoff_ms, n.backoff, n.timeout_ms, n.rate_limit,
               n.max_payload_bytes, n.snooze_limit, n.keep_completed, n.archive_after, n.incident_patience,
               n.keep_sensitive
          from jsonb_populate_record(q, :changes::jsonb) n)
 where q.name = :queue;

-- name: list_queues
select q.name, q.paused, q.batch_size, q.max_retries, q.backoff_ms, q.backoff, q.timeout_ms, q.rate_limit,
       q.max_payload_bytes, q.snooze_limit::text, q.keep_completed::text, q.archive_after::text,
       q.incident_patience::text, q.keep_sensitive::text
  from queues q
 where to_regclass(quote_ident(q.name || '_jobs_live')) is not null
 order by q.name;
