-- Finds sensitive values that stand in the clear, and writes others in their place. :"leaf" is a leaf of a queue, or
-- the live or the done one: naming it keeps the statement triggers out of it. `kinds` are the queue's kinds that have
-- sensitive values, and for each a jsonpath that a payload matches which has one in the clear.

-- name: search_due
-- Whether it is time to search a queue. With keys, values are sealed as soon as possible: the fleet searches three
-- times a minute. A job may be cancelled and archived between two searches: so `until`, where the next search of the
-- archive begins, lies a while back. Without keys, values are removed when their time has come.
select q.sensitive_until::text as since, w.until::text as until,
       coalesce(q.sensitive_until < w.until - w.every, true) as due
  from queues q,
       lateral (select case when :sealing then clock_timestamp() - interval '2 minutes'
                            else clock_timestamp() - q.keep_sensitive end as until,
                       case when :sealing then interval '15 seconds' else interval '10 minutes' end as every) w
 where q.name = :queue;

-- name: clear_in_live
-- Of all jobs, or only of those that ended before.
select j.id, pg_catalog.pg_column_size(j.payload) as bytes
  from :"live" j
  join jsonb_to_recordset(:kinds) as k (kind text, clear jsonpath) on k.kind = j.kind
 where j.id > :after and j.payload @? k.clear
   and (:ended_before::timestamptz is null
        or j.status in ('completed', 'failed', 'cancelled') and j.completed_at < :ended_before)
 order by j.id
 limit 500;

-- name: clear_in_done
-- In the order of an index, from where the last search ended.
select j.id, pg_catalog.pg_column_size(j.payload) as bytes, j.completed_at::text as at
  from :"done" j
  join jsonb_to_recordset(:kinds) as k (kind text, clear jsonpath) on k.kind = j.kind
 where j.completed_at >= coalesce(:at::timestamptz, '-infinity'::timestamptz)
   and (:at::timestamptz is null or j.completed_at > :at or j.id > :after)
   and (:ended_before::timestamptz is null or j.completed_at < :ended_before)
   and j.payload @? k.clear
 order by j.completed_at, j.id
 limit 500;

-- name: lock_jobs
-- What somebody else has locked is left for the next time.
select id, queue, kind, payload from :"leaf" where id = any(:ids) order by id for update skip locked;

-- name: put_values
update :"leaf" j
   set payload = put_values(j.payload, f.changes)
  from (select * from jsonb_to_recordset(:jobs) as f (id bigint, changes jsonb)
         limit pg_catalog.jsonb_array_length(:jobs)) f
 where j.id = f.id;

-- name: searched
update queues set sensitive_until = :until::timestamptz
 where name = :queue and (sensitive_until is null or sensitive_until < :until::timestamptz);
