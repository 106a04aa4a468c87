-- name: take_tokens
select take_tokens(:key, :n, :rate) as wait_ms;
