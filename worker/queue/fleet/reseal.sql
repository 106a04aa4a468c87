-- name: stale
-- Jobs of a leaf with a value that is sealed by another key than the active one, wherever it is, or that stands in the
-- clear where one of the `kinds` has a sensitive value.
select j.id, pg_catalog.pg_column_size(j.payload) as bytes
  from :"leaf" j
  left join jsonb_to_recordset(:kinds) as k (kind text, clear jsonpath) on k.kind = j.kind
 where j.id > :after
   and (strpos(j.payload::text, '"sealed:') > 0 and j.payload::text ~ :stale or j.payload @? k.clear)
 order by j.id
 limit 500;

-- name: seals_in
-- How many jobs of a leaf have values that are sealed by which key.
select s.kid, count(*) as jobs
  from :"leaf" j,
       lateral (select distinct m[1] as kid
                  from pg_catalog.regexp_matches(j.payload::text, :sealed::text, 'g'::text) m) s
 where strpos(j.payload::text, '"sealed:') > 0
 group by s.kid;

-- name: clear_jobs
-- How many jobs of a leaf have sensitive values in the clear.
select count(*) as jobs
  from :"leaf" j
  join jsonb_to_recordset(:kinds) as k (kind text, clear jsonpath) on k.kind = j.kind
 where j.payload @? k.clear;
