-- Columns that are sealed, outside of the payloads of jobs. :"table" has an id as text.

-- name: to_seal
-- What is not sealed by the active key, or not sealed at all. What somebody else has locked is left for the next time.
select t.id, t.:"column" as value from :"table" t
 where t.id > :after and t.:"column" is not null and not pg_catalog.starts_with(t.:"column", :prefix)
 order by t.id
 limit 500
   for update skip locked;

-- name: put_sealed
update :"table" t
   set :"column" = v.value
  from jsonb_to_recordset(:sealed) as v (id text, value text)
 where t.id = v.id;

-- name: seals_of
-- How many rows have a value under each key; in the clear: an empty one.
select case when pg_catalog.starts_with(t.:"column", 'sealed:') then pg_catalog.split_part(t.:"column", ':', 2)
            else '' end as kid,
       count(*) as rows
  from :"table" t
 where t.:"column" is not null
 group by 1;
