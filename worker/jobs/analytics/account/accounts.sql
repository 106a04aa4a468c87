-- name: find_accounts
select id from analytics_accounts
 where (:account::bigint is null or id = :account::bigint) and (:platform::text is null or platform = :platform)
 order by id;
