-- Webhooks: who receives them, and the keys that sign them.
--
--     insert into webhook_endpoints (id, url) values ('shop-1', 'https://shop.example/hooks') returning secret;
--
-- A worker with SEAL_KEYS replaces a secret by "sealed:<key>:<base64>" (0012). To rotate a secret, move it and set a
-- new one. Requests have both signatures until previous_secret is null again:
--
--     update webhook_endpoints set previous_secret = secret, secret = 'whsec_...' where id = 'shop-1';
--
-- Locks: none that anybody waits for. Undo: drop the table, and delete the rows of error_codes.

create table webhook_endpoints (
  id              text        primary key default gen_random_uuid()::text check (id ~ '^[A-Za-z0-9_.-]{1,200}$'),
  url             text        not null check (url ~ '^https?://' and char_length(url) <= 2000),
  secret          text        not null
                  default 'whsec_' || encode(sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text,
                                                               'UTF8'::name)), 'base64')
                  check (secret ~ '^(whsec_[A-Za-z0-9+/]{32,86}={0,2}|sealed:.+)$'),
  previous_secret text        check (previous_secret ~ '^(whsec_[A-Za-z0-9+/]{32,86}={0,2}|sealed:.+)$'),
  failing_since   timestamptz,
  disabled_at     timestamptz,
  disabled_reason text        check (char_length(disabled_reason) <= 200),
  created_at      timestamptz not null default clock_timestamp()
);
comment on table  webhook_endpoints is
  'Receivers of webhooks. A job names one by its id. To enable one again: update webhook_endpoints set disabled_at = '
  'null, disabled_reason = null, failing_since = null where id = ...';
comment on column webhook_endpoints.secret is
  'Signs each request: whsec_ and 24 to 64 bytes as base64. Default: a new one. The receiver needs the same.';
comment on column webhook_endpoints.previous_secret is
  'Signs, too. Set it to null when the receiver has the new secret.';
comment on column webhook_endpoints.failing_since is
  'When the first request failed after the last one that succeeded. After WEBHOOK_DISABLE_HOURS it is disabled.';
comment on column webhook_endpoints.disabled_at is 'Since when nothing is sent to it: its jobs fail.';

insert into error_codes (code, family, what, cause, solution) values

('address_refused', 'NotificationError',
 'The address of the webhook is one that Rowmill does not write to.',
 'It leads to a network that is not public, has a password in it, or is not https. The message says which.',
 'Correct the address. For a network of your own, set WEBHOOK_ALLOW. Then retry the job.'),

('webhook_gone', 'NotificationError',
 'The receiver of the webhook answered 410: it wants no more. Its endpoint is disabled.',
 'The subscription was ended on the other side.',
 'Ask the receiver. To go on, enable the row of webhook_endpoints again, and retry the job.'),

('webhook_redirected', 'NotificationError',
 'The receiver of the webhook redirects to another address. Redirects are not followed.',
 'The receiver has moved, or its address lacks www or a slash at its end.',
 'Write the new address into webhook_endpoints, or into the payload. Then retry the job.'),

('webhook_refused', 'NotificationError',
 'The receiver of the webhook does not take the message.',
 'Its program has a fault, or it has another secret. The message has the status.',
 'Ask the receiver, and compare the secret. Then retry the job.'),

('webhook_endpoint_disabled', 'NotificationError',
 'Nothing is sent to this endpoint any more.',
 'It answered 410, or all requests failed for WEBHOOK_DISABLE_HOURS. webhook_endpoints has the reason.',
 'Ask the receiver. To go on, set disabled_at to null in webhook_endpoints, and retry the job.'),

('webhook_endpoint_not_found', 'NotificationError',
 'There is no endpoint with this id.',
 'A typing error, or the row of webhook_endpoints was deleted.',
 'Correct the payload, or insert the row. Then retry the job.');
