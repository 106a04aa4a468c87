-- Accounts on social platforms. Their tokens are sealed, so an account's id must be known before they are written.

-- name: find_account
-- `expires_ms`: how long the access token is good for yet, by the clock of Postgres; null: for ever.
select id, platform, external_id, name, access_token, refresh_token, status, status_reason,
       extract(epoch from access_expires_at - clock_timestamp())::float8 * 1000::float8 as expires_ms,
       extract(epoch from access_expires_at - refreshed_at)::float8 * 1000::float8 as lifetime_ms
  from social_accounts where id = :id;

-- name: lock_account
-- Whoever renews its tokens holds the row: the others wait here, and then find the new ones.
select id, platform, external_id, name, access_token, refresh_token, status, status_reason,
       extract(epoch from access_expires_at - clock_timestamp())::float8 * 1000::float8 as expires_ms,
       extract(epoch from access_expires_at - refreshed_at)::float8 * 1000::float8 as lifetime_ms
  from social_accounts where id = :id
   for update;

-- name: store_tokens
-- Null: the refresh token stays as it is.
update social_accounts
   set access_token = :access_token, refresh_token = coalesce(:refresh_token::text, refresh_token),
       access_expires_at = clock_timestamp() + pg_catalog.make_interval(secs => :lives::float8),
       refreshed_at = clock_timestamp(), updated_at = clock_timestamp(), status = 'active', status_reason = null
 where id = :id;

-- name: ask_to_reconnect
update social_accounts
   set status = 'needs_reconnect', status_reason = :reason, updated_at = clock_timestamp()
 where id = :id and status = 'active'
returning id;

-- name: account_id_of
select id from social_accounts where platform = :platform and external_id = :external_id for update;

-- name: new_account_id
select nextval(pg_get_serial_sequence('social_accounts', 'id')::regclass) as id;

-- name: put_account
insert into social_accounts as a
       (id, platform, external_id, name, access_token, refresh_token, access_expires_at, scopes)
values (:id, :platform, :external_id, :name, :access_token, :refresh_token,
        clock_timestamp() + pg_catalog.make_interval(secs => :lives::float8), :scopes)
    on conflict (id) do update
   set name = coalesce(excluded.name, a.name), access_token = excluded.access_token,
       refresh_token = coalesce(excluded.refresh_token, a.refresh_token),
       access_expires_at = excluded.access_expires_at, refreshed_at = clock_timestamp(), scopes = excluded.scopes,
       status = 'active', status_reason = null, updated_at = clock_timestamp();

-- name: list_accounts
select a.id, a.platform, a.external_id, a.name, a.status, a.status_reason, a.access_expires_at, a.refreshed_at,
       a.scopes,
       (select count(*) from social_posts p
         where p.account_id = a.id and p.status in ('scheduled', 'publishing', 'processing')) as waiting
  from social_accounts a
 order by a.platform, a.id;

-- name: remove_account
-- Not while posts of it wait.
delete from social_accounts a
 where a.id = :id
   and not exists (select from social_posts p
                    where p.account_id = a.id and p.status in ('scheduled', 'publishing', 'processing'))
returning a.id;
