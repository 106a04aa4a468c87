-- name: tickets_revision
select coalesce(max(id), 0) as id from :"tickets".migrations;
