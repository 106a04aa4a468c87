-- name: take_tokens
select take_tokens(:key, :n, :rate, :patience_ms) as wait_ms;
