-- Sensitive values in rows that are no jobs: the tokens of devices, and what your API wrote for a job to read. A worker
-- with SEAL_KEYS seals them as it seals payloads (0012), within a minute.
--
-- The indexes have the rows that are in the clear: with SEAL_KEYS, nearly none.
--
-- Locks: SHARE on push_tokens and notifications while the indexes are built. Undo: drop the indexes.

create index push_tokens_clear on push_tokens (token_hash) where not starts_with(ltrim(token::text, '"'), 'sealed:');
create index notifications_clear on notifications (id) where not starts_with(ltrim(payload::text, '"'), 'sealed:');

comment on column push_tokens.token is 'Sealed soon after it was written, where the workers have SEAL_KEYS.';
comment on column notifications.payload is
  'What your API wrote for the job to read: it fills in what the payload of the job lacks. Jobs write nothing here. '
  'Where the workers have SEAL_KEYS, they seal it.';
