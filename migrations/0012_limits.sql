-- What a row can carry, and what a wrong word is answered with.
--
-- 1. A job's payload, result and texts have a limit each, checked where they come in: at insert by a row trigger, at an UPDATE written by hand by
--    the statement trigger jobs_mended. Not by CHECK constraints, which Postgres evaluates at each UPDATE of a row, start and finish among them.
-- 2. A job of a queue that is not there, and a kind that has its queue's name in it, are refused with the right word in the HINT.
-- 3. The other tables that people or handlers write to have CHECKs. A key of an object to delete that no storage can have is kept for a person to see:
--    its index could not take it, and the whole cleanup would fail for it.
--
-- A jsonb value prints as up to 8,192 times its size: the number 1e131071 takes 16 bytes. Up to 120 bytes nothing can print as a megabyte, and up
-- to 64,000 printing cannot fail: it fails at 1 GB.
--
-- Locks: ACCESS EXCLUSIVE on the tables for a moment. Undo: drop what is made here, take check_job out of jobs_mended().

-- A value prints as a quarter of its size at least: what is eight times too large need not be printed, which takes seconds and a gigabyte.
create function json_bytes(value jsonb, most bigint) returns bigint
  language plpgsql stable
  set search_path from current
as $$
begin
  if pg_catalog.pg_column_compression(value) is null and pg_catalog.pg_column_size(value) > 8 * most then
    return 1000000000;
  end if;
  return octet_length(value::text);
exception
  when program_limit_exceeded or statement_too_complex then
    return 1000000000;
end $$;
comment on function json_bytes is 'How long a value is as text; a gigabyte for one that is many times longer than `most`, or that Postgres cannot print.';

create function check_job(queue text, kind text, payload jsonb, result jsonb, dedupe_key text, error_code text, error text) returns void
  language plpgsql stable
  set search_path from current
as $$
declare
  most  bigint := coalesce((select q.max_payload_bytes from queues q where q.name = check_job.queue), 1000000);
  bytes bigint;
  named text;
begin
  if strpos(kind, '.') > 0 then
    named := split_part(kind, '.', 1);
    raise exception 'kind "%" of queue % has a dot in it', left(kind, 100), queue
      using errcode = 'check_violation', constraint = 'kind_with_dot',
            hint = case when named = queue then pg_catalog.format('The table names the queue: write kind = %L', split_part(left(kind, 200), '.', 2))
                        when exists (select from queues q where q.name = named)
                          then pg_catalog.format('Insert into %s_jobs, with kind = %L', named, split_part(left(kind, 200), '.', 2))
                        else 'A kind is one word, such as image: the column queue, or the table, names the queue' end;
  end if;
  if char_length(kind) > 100 then
    raise exception 'the kind is % characters long: 100 is the most', char_length(kind)
      using errcode = 'check_violation', constraint = 'kind_too_long', hint = 'What differs from job to job belongs into the payload.';
  end if;
  if char_length(dedupe_key) > 500 then
    raise exception 'the dedupe_key is % characters long: 500 is the most', char_length(dedupe_key)
      using errcode = 'check_violation', constraint = 'dedupe_key_too_long', hint = 'Take a hash of it: encode(sha256(...), ''hex'').';
  end if;
  if char_length(error_code) > 60 or char_length(error) > 2000 then
    raise exception 'error_code takes 60 characters, and error 2000'
      using errcode = 'check_violation', constraint = 'error_too_long', hint = 'Shorten it: left(..., 2000).';
  end if;
  bytes := json_bytes(payload, most);
  if bytes > most then
    raise exception 'the payload of a job of queue % is % as text: % is the most', queue,
                    case when bytes = 1000000000 then 'many times too long' else pg_catalog.format('%s bytes', bytes) end, most
      using errcode = 'check_violation', constraint = 'payload_too_large',
            hint = 'Keep the data in storage or in a table, and its key in the payload; or raise queues.max_payload_bytes, to 64000000 at most.';
  end if;
  bytes := json_bytes(result, 1000000);
  if bytes > 1000000 then
    raise exception 'the result of a job is % as text: 1000000 is the most',
                    case when bytes = 1000000000 then 'many times too long' else pg_catalog.format('%s bytes', bytes) end
      using errcode = 'check_violation', constraint = 'result_too_large', hint = 'Keep the data in storage or in a table, and its key in the result.';
  end if;
end $$;
comment on function check_job is 'Refuses what a row of jobs cannot carry.';

create function job_bounds() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  perform check_job(new.queue, new.kind, new.payload, new.result, new.dedupe_key, new.error_code, new.error);
  return new;
end $$;
comment on function job_bounds is 'Refuses a job that carries too much, or whose kind has a dot in it.';

-- Before job_dedupe, whose key would be too long for its index. A row on its way to the archive was checked when it came.
create trigger job_bounds before insert on jobs
  for each row when (
    not new.archived
    and (char_length(new.kind) > 100 or strpos(new.kind, '.') > 0
         or pg_catalog.pg_column_compression(new.payload) is not null
         or (pg_catalog.pg_column_size(new.payload) > 120 and (pg_catalog.pg_column_size(new.payload) > 64000 or octet_length(new.payload::text) > 1000000))
         or new.result is not null
         or char_length(new.dedupe_key) > 500 or char_length(new.error_code) > 60 or char_length(new.error) > 2000))
  execute function job_bounds();


-- A queue that is not there -----------------------------------------------------------------------------------------------------

create table jobs_of_no_queue partition of jobs default;
comment on table jobs_of_no_queue is 'Always empty: a job of a queue that is not there comes here, and is refused.';

create function job_astray() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  raise exception 'there is no queue "%"', left(new.queue, 100)
    using errcode = 'check_violation', constraint = 'unknown_queue',
          hint = 'The queues are ' || (select string_agg(regexp_replace(c.relname::text, '_jobs$', ''), ', ' order by c.relname)
                                         from pg_catalog.pg_inherits i
                                         join pg_catalog.pg_class c on c.oid = i.inhrelid
                                        where i.inhparent = (select p.inhparent from pg_catalog.pg_inherits p where p.inhrelid = tg_relid)
                                          and i.inhrelid <> tg_relid) || '.';
end $$;
comment on function job_astray is 'Names the queues that there are.';

-- Its name makes it the first of the table's triggers.
create trigger job_astray before insert on jobs_of_no_queue
  for each row execute function job_astray();


-- Other tables ------------------------------------------------------------------------------------------------------------------

alter table queues
  add constraint name_too_long check (char_length(name) <= 50);
alter table job_errors
  add constraint error_too_long check (char_length(error_code) <= 60 and char_length(error) <= 2000 and char_length(stack) <= 8000);
alter table schedules
  add constraint text_too_long check (char_length(name) <= 200 and char_length(cron) <= 200 and char_length(time_zone) <= 100
                                      and char_length(kind) <= 100 and char_length(error) <= 2000),
  add constraint kind_with_dot check (strpos(kind, '.') = 0),
  add constraint payload_too_large check (case when pg_catalog.pg_column_size(payload) > 64000 then false else octet_length(payload::text) <= 1000000 end);
alter table rate_limits
  add constraint key_too_long check (char_length(key) <= 500),
  -- A bucket that is infinitely empty would stay so.
  add constraint finite check (tokens between -1e15::float8 and 1e15::float8 and isfinite(updated_at) and isfinite(promised_until));
alter table storage_deletions
  add constraint error_too_long check (char_length(error_code) <= 60 and char_length(error) <= 2000);

create function deletion_impossible() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  new.error := pg_catalog.format('The key is %s bytes long, and no storage has keys above 1024', octet_length(new.key));
  new.error_code := 'key_too_long';
  new.key := left(new.key, 200) || '…';
  new.due_at := 'infinity';
  return new;
end $$;
comment on function deletion_impossible is 'One row with a key that can be none does not keep the others from being cleaned up.';

create trigger deletion_impossible before insert on storage_deletions
  for each row when (octet_length(new.key) > 1024) execute function deletion_impossible();
