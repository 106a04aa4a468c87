-- name: tell_waits
update workers set waiting = :waiting where id = :id;
