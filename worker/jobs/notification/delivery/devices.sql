-- name: devices_of
select user_id, token_hash, token
  from push_tokens
 where user_id = any(:user_ids) and invalid_at is null
 order by token_hash;

-- name: mark_invalid
update push_tokens t
   set invalid_at = clock_timestamp()
 where t.token_hash in (select encode(sha256(convert_to(g.given::text, 'UTF8'::name)), 'hex')
                         from pg_catalog.unnest(:tokens::text[]) g (given))
   and t.invalid_at is null;
