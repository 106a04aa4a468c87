-- Links that connect an account.

-- name: add_link
-- Links that expired are deleted with it.
with expired as (
  delete from social_connects where expires_at < clock_timestamp() - interval '1 day'
)
insert into social_connects (state_hash, platform, verifier, account_id, expires_at)
values (:state_hash, :platform, :verifier, :account_id,
        clock_timestamp() + pg_catalog.make_interval(secs => :seconds::float8))
returning expires_at;

-- name: use_link
-- A link is good once: whoever deletes it goes on.
delete from social_connects c
 where c.state_hash = :state_hash and c.platform = :platform
returning c.verifier, c.account_id, c.expires_at > clock_timestamp() as is_good;

-- name: account_of_link
select platform, external_id, coalesce(name, external_id) as name from social_accounts where id = :id;
