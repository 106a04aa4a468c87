-- Columns that are sealed, outside of the payloads of jobs. :"key" is the table's key. A column of JSON is
-- sealed as a whole: as text it begins with a quotation mark.

-- name: to_seal
-- What is not sealed by the active key, or not sealed at all: 0017 has indexes for this. What somebody else has locked
-- is left for the next time.
select t.:"key"::text as id, pg_catalog.to_jsonb(t.:"column") as value from :"table" t
 where t.:"key"::text > :after and not pg_catalog.starts_with(pg_catalog.ltrim(t.:"column"::text, '"'), :prefix)
 order by t.:"key"::text
 limit 500
   for update skip locked;

-- name: put_sealed
update :"table" t
   set :"column" = v.value
  from jsonb_to_recordset(:sealed) as v (id text, value text)
 where t.:"key"::text = v.id;

-- name: put_sealed_json
update :"table" t
   set :"column" = pg_catalog.to_jsonb(v.value)
  from jsonb_to_recordset(:sealed) as v (id text, value text)
 where t.:"key"::text = v.id;

-- name: seals_of
-- How many rows have a value under each key; in the clear: an empty one.
select case when pg_catalog.starts_with(pg_catalog.ltrim(t.:"column"::text, '"'), 'sealed:')
            then pg_catalog.split_part(t.:"column"::text, ':', 2) else '' end as kid,
       count(*) as rows
  from :"table" t
 where t.:"column" is not null
 group by 1;
