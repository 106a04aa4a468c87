-- The statements of ingest.ts. See migrations/0016_ingest.sql.

-- name: keep_rejected
insert into rejected_messages (source, key, message_id, headers, body, reason, error)
select source, key, message_id, headers, body, reason, error
  from unnest(:sources::text[], :keys::text[], :message_ids::text[], :headers::jsonb[], :bodies::bytea[],
              :reasons::text[], :errors::text[])
    as f (source, key, message_id, headers, body, reason, error)
    on conflict (source, message_id) where message_id is not null do nothing;

-- name: list_rejected
select id, source, key, message_id, octet_length(body) as bytes, reason, error, created_at, tried_at
  from rejected_messages
 where (:source::text is null or source = :source) and (:reason::text is null or reason = :reason)
 order by id desc
 limit :limit;

-- name: read_rejected
select id, source, key, message_id, headers, body, reason, error, created_at, tried_at
  from rejected_messages
 where id = any(:ids::bigint[])
 order by id
   for update;

-- name: correct_rejected
update rejected_messages set key = :key, body = :body where id = :id returning id;

-- name: mark_tried
update rejected_messages set reason = :reason, error = :error, tried_at = clock_timestamp() where id = :id;

-- name: delete_rejected
delete from rejected_messages where id = any(:ids::bigint[]) returning id;
