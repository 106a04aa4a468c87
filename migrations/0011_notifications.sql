-- Notifications: what was told to whom, by which provider, and what became of it.
--
-- A notification is a job of queue notification. Its delivery is a row of its own, which outlives the job: the engine
-- executes a job at least once, and the delivery makes of it at most one message that a person sees, as far as the
-- provider's protocol lets anyone know.
--
--     queued ─► sending ─► sent ─► delivered ─► read          what providers report later: bounced
--       ▲          │
--       └──────────┼── the provider certainly did not send it, and it is tried again
--                  ├─► failed       it certainly was not sent, and cannot be
--                  └─► ambiguous    nobody knows: the request went out, and no answer came
--     skipped: it was not to be sent, because the recipient does not want it
--
-- An attempt writes `sending` before it asks a provider, and commits `sent` together with the completion of the job. An
-- attempt that finds `sending` was preceded by one that died: worker/jobs/notification/README.md says what it does. If
-- a job fails, its deliveries follow by trigger.
--
-- No table here has an address. recipient_hash is an HMAC with HASH_KEY, which only the workers know: it finds
-- suppressed recipients and repeated deliveries.
--
-- Also here: queues.backoff, and pause_tokens for a provider that says when to come back.
--
-- Locks: ACCESS EXCLUSIVE on queues and on notification_jobs, for a moment. Undo: drop everything named here, and make
-- retry_delay as it is in 0001.

create table notifications (
  id             text        primary key default gen_random_uuid()::text,
  message_id     text        not null unique,
  job_id         bigint,
  target_user_id text,
  channel        text        not null,
  template_id    text,
  payload        jsonb,
  priority       text        not null default 'normal' check (priority in ('low', 'normal', 'high', 'critical')),
  metadata       jsonb       not null default '{}',
  content_hash   text,
  status         text        not null default 'pending' check (status in ('pending', 'sent', 'failed', 'skipped')),
  created_at     timestamptz not null default clock_timestamp(),
  sent_at        timestamptz,
  constraint too_long check (char_length(id) <= 500 and char_length(message_id) <= 500
                             and char_length(target_user_id) <= 500 and char_length(template_id) <= 500
                             and octet_length(metadata::text) <= 100000)
);
create index on notifications (target_user_id, created_at) where target_user_id is not null;
comment on table  notifications is
  'One row for each thing to tell. The job that first meets it makes the row, or uses the one that your API made.';
comment on column notifications.message_id is
  'What makes a submission idempotent: a second job with the same message_id sends nothing. Default: job:<id of the '
  'job>.';
comment on column notifications.job_id is 'The job that last took it on.';
comment on column notifications.payload is
  'What your API wrote for the job to read: it fills in what the payload of the job lacks. Jobs write nothing here.';
comment on column notifications.content_hash is
  'An HMAC of what is to be told. Another content under the same message_id is refused: message_id_reused.';

create table notification_deliveries (
  id                  uuid        primary key default gen_random_uuid(),
  notification_id     text        not null references notifications (id) on delete cascade,
  channel             text        not null,
  recipient_hash      text        not null,
  job_id              bigint,
  attempt             integer,
  status              text        not null default 'queued'
                      check (status in ('queued', 'sending', 'sent', 'delivered', 'read', 'failed', 'bounced',
                                        'ambiguous', 'skipped')),
  provider            text,
  provider_message_id text        check (char_length(provider_message_id) <= 1000),
  error_code          text        check (char_length(error_code) <= 60),
  created_at          timestamptz not null default clock_timestamp(),
  sending_at          timestamptz,
  sent_at             timestamptz,
  updated_at          timestamptz not null default clock_timestamp(),
  unique (notification_id, channel, recipient_hash)
);
create index on notification_deliveries (provider, provider_message_id) where provider_message_id is not null;
create index on notification_deliveries (job_id);
create index on notification_deliveries (updated_at);
create index notification_deliveries_ambiguous_idx on notification_deliveries (updated_at) where status = 'ambiguous';
comment on table  notification_deliveries is 'One row for each recipient of a notification on a channel.';
comment on column notification_deliveries.id is
  'The idempotency key for providers, and what they name when they report.';
comment on column notification_deliveries.recipient_hash is 'An HMAC of the address, with HASH_KEY.';
comment on column notification_deliveries.attempt is
  'Together with job_id the execution that holds the delivery: no other may begin to send it.';
comment on column notification_deliveries.error_code is 'Why it is failed, ambiguous or skipped, or was not sent yet.';

create table notification_events (
  provider          text        not null,
  provider_event_id text        not null check (char_length(provider_event_id) <= 500),
  delivery_id       uuid        references notification_deliveries (id) on delete cascade,
  event             text        not null check (char_length(event) <= 100),
  detail            jsonb       not null default '{}',
  occurred_at       timestamptz,
  received_at       timestamptz not null default clock_timestamp(),
  primary key (provider, provider_event_id)
);
create index on notification_events (delivery_id);
comment on table  notification_events is 'What providers report. Rows are only added, and each event once.';
comment on column notification_events.detail is 'What a person may read: codes and reasons. Never an address.';

create table notification_templates (
  id         text        not null check (char_length(id) between 1 and 200),
  channel    text        not null,
  locale     text        not null default '' check (locale ~ '^([a-z]{2,3}(-[A-Za-z0-9]{2,8})*)?$'),
  subject    text        check (char_length(subject) <= 2000),
  html       text        check (char_length(html) <= 500000),
  text       text        check (char_length(text) <= 500000),
  updated_at timestamptz not null default clock_timestamp(),
  primary key (id, channel, locale)
);
comment on table  notification_templates is
  'Templates of yours. A row goes before the template in the box that has the same id.';
comment on column notification_templates.locale is 'Such as de or pt-BR; empty: for all that have no row of their own.';
comment on column notification_templates.html is
  'Handlebars. A job that lacks a variable which the template names fails: missing_variable.';

create table suppressions (
  channel        text        not null,
  recipient_hash text        not null,
  list           text        not null default '',
  reason         text        not null check (char_length(reason) between 1 and 200),
  since          timestamptz not null default clock_timestamp(),
  primary key (channel, recipient_hash, list)
);
comment on table  suppressions is
  'Recipients that must not be written to: hard bounces, complaints, STOP. Delete the row to write to them again.';
comment on column suppressions.list is 'Of which list the recipient does not want to hear; empty: of none.';

create table push_tokens (
  token_hash   text        primary key,
  user_id      text        not null check (char_length(user_id) <= 500),
  token        text        not null check (char_length(token) <= 8000),
  platform     text        check (platform in ('android', 'ios', 'web')),
  last_seen_at timestamptz not null default clock_timestamp(),
  invalid_at   timestamptz
);
create index on push_tokens (user_id);
comment on table  push_tokens is 'The devices of each user. A job that names a user alone goes to all valid ones.';
comment on column push_tokens.token_hash is
  'sha256 of the token, in hex: encode(sha256(convert_to(token, ''UTF8'')), ''hex'').';
comment on column push_tokens.invalid_at is 'When the provider said that the token is no longer valid.';


-- The row of a job follows what its payload says ----------------------------------------------------------------------

create function notification_terms() returns trigger
  language plpgsql
  set search_path from current
as $$
declare
  seconds numeric;
begin
  if new.priority = 0 then
    new.priority := case new.payload ->> 'priority' when 'critical' then -20 when 'high' then -10 when 'low' then 10
                                                    else 0 end;
  end if;
  if new.expires_at is null and jsonb_typeof(new.payload -> 'ttl') = 'number' then
    seconds := (new.payload ->> 'ttl')::numeric;
    if seconds > 0::numeric and seconds < 31536000::numeric then
      new.expires_at := greatest(new.created_at, new.run_at) + pg_catalog.make_interval(secs => seconds::float8);
    end if;
  end if;
  return new;
end $$;
comment on function notification_terms is
  'Sets a new job''s priority by the word in its payload, and expires_at by its ttl in seconds, where the insert sets '
  'none.';

create trigger notification_terms before insert on notification_jobs
  for each row when (not new.archived and (new.payload ? 'priority' or new.payload ? 'ttl'))
  execute function notification_terms();

create function notification_ends() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  update notifications n set status = case new.status when 'failed' then 'failed' else 'skipped' end
   where n.status = 'pending'
     and (n.id = new.payload ->> 'notification_id'
          or n.id in (select d.notification_id from notification_deliveries d where d.job_id = new.id));
  update notification_deliveries d
     set status = case when d.status = 'sending' then 'ambiguous' when new.status = 'failed' then 'failed'
                       else 'skipped' end,
         error_code = new.error_code, updated_at = clock_timestamp()
   where d.job_id = new.id and d.status in ('queued', 'sending');
  return null;
end $$;
comment on function notification_ends is
  'What was not sent when its job failed has failed, and is skipped when the job was cancelled, also because it '
  'expired. What was being sent is ambiguous: in the same statement, so that only a person tries it again.';

create trigger notification_ends after update on notification_jobs
  for each row when (new.status in ('failed', 'cancelled') and old.status <> new.status)
  execute function notification_ends();


-- Backoff -------------------------------------------------------------------------------------------------------------

alter table queues add column backoff text not null default 'exponential' check (backoff in ('exponential', 'linear'));
comment on column queues.backoff is
  'How the wait grows. exponential: backoff_ms is doubled for each further retry. linear: backoff_ms is added.';
comment on column queues.backoff_ms is 'The wait before the first retry; queues.backoff says how it grows.';

-- Six hours at most; and up to a tenth more at random, so that jobs that failed together do not all come back together.
-- A worker of an older version calls it without `backoff`.
drop function retry_delay(integer, integer);
delete from rowmill_objects where object = 'routine retry_delay(integer, integer)';
create function retry_delay(backoff_ms integer, retry_count integer, backoff text default 'exponential')
  returns interval
  language sql volatile
as $$
  select pg_catalog.make_interval(
    secs => least(backoff_ms::float8 / 1000::float8
                  * case backoff when 'linear' then retry_count::float8 + 1::float8
                                 else 2::float8 ^ least(retry_count, 30)::float8 end, 21600)
            * (1::float8 + random() / 10::float8))
$$;
comment on function retry_delay is 'The wait before a job''s next retry.';


-- Rate limits ---------------------------------------------------------------------------------------------------------

-- The bucket is emptied so far that it has its next token when the pause is over, and callers are told to come back
-- after that, one after the other.
create function pause_tokens(key text, rate float8, pause_ms float8) returns void
  language plpgsql
  set search_path from current
as $$
#variable_conflict use_column
begin
  insert into rate_limits as r (key, tokens, updated_at, promised_until)
  values (pause_tokens.key, - rate * pause_ms / 1000::float8, clock_timestamp(),
          clock_timestamp() + pg_catalog.make_interval(secs => pause_ms / 1000::float8))
      on conflict (key) do update
     set tokens = least(excluded.tokens,
                        r.tokens + rate * greatest(0, extract(epoch from clock_timestamp() - r.updated_at)::float8)),
         updated_at = excluded.updated_at,
         promised_until = greatest(r.promised_until, excluded.promised_until);
end $$;
comment on function pause_tokens is
  'Lets nobody take tokens from a bucket for so many milliseconds: for a service that says when to come back.';


-- Error codes ---------------------------------------------------------------------------------------------------------

insert into error_codes (code, family, what, cause, solution) values

('unknown_outcome', 'NotificationError',
 'Nobody knows whether the message was sent.',
 'The request went out and no answer came, or the worker died meanwhile. The provider cannot be asked.',
 'Look whether it arrived. To send it again, retry the job; AMBIGUOUS_SEND=resend does so by itself.'),

('send_unanswered', 'NotificationError',
 'The provider did not answer. The message is sent again under the same id, or the provider is asked.',
 'The provider is overloaded, or the network broke off.',
 'Look at the status page of the provider. Then retry the job.'),

('delivery_taken', 'NotificationError',
 'Another execution began to send the message first.',
 'This worker was believed dead, and came back.',
 'Nothing: the job is tried again. If it stays so, look at the log of the workers.'),

('message_id_reused', 'NotificationError',
 'There is a notification with the same message_id and another content.',
 'Two messages were given one message_id, or a message was changed after it had been sent.',
 'Give each message its own message_id. Correct it in the payload and retry the job.'),

('provider_not_configured', 'NotificationError',
 'There is no provider for this channel.',
 'None of its settings are set, and in production no message goes to the outbox.',
 'Set the settings that the message names, and restart the worker.'),

('hash_key_missing', 'NotificationError',
 'There is no key for the hashes of addresses.',
 'HASH_KEY is not set, which production needs.',
 'Set HASH_KEY to what openssl rand -base64 32 prints, the same for all workers, and restart them.'),

('invalid_recipient', 'NotificationError',
 'The address cannot be one, or the provider says that there is none like it.',
 'A typing error, or an account that was deleted.',
 'Correct the address in the payload and retry the job, or delete the job.'),

('template_not_found', 'NotificationError',
 'There is no template of this name for the channel.',
 'A typing error, or a row of notification_templates is missing.',
 'Correct the payload, or add the template; rowmill template list shows all. Then retry the job.'),

('missing_variable', 'NotificationError',
 'The template names a variable that the payload does not have.',
 'The program that adds the job leaves it out, or spells it in another way. The message names it.',
 'Correct the payload or the template. rowmill template preview shows the result. Then retry the job.'),

('unsafe_link', 'NotificationError',
 'A variable that becomes a link is no address of the web.',
 'It begins with javascript:, or lacks https://.',
 'Correct the payload and retry the job.'),

('invalid_template', 'NotificationError',
 'A template cannot be rendered.',
 'A row of notification_templates is no valid Handlebars, or calls a helper that there is none of.',
 'Correct the row; rowmill template preview shows the result. Then retry the job.'),

('message_refused', 'NotificationError',
 'The provider did not take the message, and would not take it again.',
 'Its content or its sender is against a rule. The message has the code of the provider.',
 'Correct the message or the sender. Then retry the job.'),

('message_deferred', 'NotificationError',
 'The provider did not take the message now.',
 'The mailbox is full, or the server delays senders that it does not know.',
 'Wait, then retry the job.');
