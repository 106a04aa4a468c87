-- Connecting an account on a social platform by a link: which account the link is for.
--
-- `rowmill account connect PLATFORM` prints the link. It is good once, until expires_at. With --account, only the
-- account of that row may be connected by it, so that its posts do not go to another account.
--
-- Locks: ACCESS EXCLUSIVE on social_connects, for a moment. Undo: drop the column.

alter table social_connects
  add column account_id bigint references social_accounts (id) on delete cascade;
create index on social_connects (account_id);
comment on column social_connects.account_id is
  'The account that is connected again: the owner must say yes as this account. Null: any account.';
