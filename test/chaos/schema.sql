-- What the chaos run keeps beside the jobs, to judge by. Nothing here is known to the engine.

-- The batches of jobs that were inserted, each in one transaction with its jobs: truth, whatever the client heard of
-- it.
create table batches (n integer primary key);
create table submitted (job_id bigint primary key, batch integer not null);

create table kinds (kind text primary key, completes boolean not null, fails boolean not null,
  commits boolean not null);

-- No unique constraints: what comes twice is to be seen.
create table runs    (job_id bigint not null, attempt integer not null, pid integer not null,
  at timestamptz not null default clock_timestamp());
create table effects (job_id bigint not null, attempt integer not null, pid integer not null,
  at timestamptz not null default clock_timestamp());

-- Every change of a job that matters, with who made it: the engine's connections are named rowmill, ours chaos. A job's
-- entries are in order of seq, since each is written while its row is locked. `was` is null for an insert and for a job
-- out of the archive.
create table history (
  seq             bigint generated always as identity,
  job_id          bigint not null,
  was             text,
  now             text not null,
  attempt_was     integer,
  attempt         integer not null,
  retry_count_was integer,
  retry_count     integer not null,
  max_retries     integer not null,
  run_at          timestamptz not null,
  error_code      text,
  result          jsonb,
  by              text not null default current_setting('application_name'),
  at              timestamptz not null default clock_timestamp()
);

create function record() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    insert into history (job_id, now, attempt, retry_count, max_retries, run_at, error_code, result)
    values (new.id, new.status, new.attempt, new.retry_count, new.max_retries, new.run_at, new.error_code, new.result);
  else
    insert into history (job_id, was, now, attempt_was, attempt, retry_count_was, retry_count, max_retries, run_at,
      error_code, result)
    values (new.id, old.status, new.status, old.attempt, new.attempt, old.retry_count, new.retry_count,
      new.max_retries, new.run_at,
            new.error_code, new.result);
  end if;
  return null;
end $$;

create trigger record_insert after insert on jobs
  for each row when (not new.archived) execute function record();
create trigger record_update after update on jobs
  for each row
    when ((old.status, old.attempt, old.retry_count) is distinct from (new.status, new.attempt, new.retry_count))
  execute function record();
