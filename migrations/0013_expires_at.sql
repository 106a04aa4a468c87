-- A job may say until when it is worth starting, as a login code does. Locks: ACCESS EXCLUSIVE on jobs and its partitions for a moment.
-- Undo: drop the column, and make dead_letters again.

alter table jobs add column expires_at timestamptz;
comment on column jobs.expires_at is
  'A job that has not started by then ends cancelled, with error_code expired. Null: it never expires.';

-- A view names the columns that its tables had when it was made.
drop view dead_letters;
create view dead_letters as
select j.*, j.queue || '.dead' as dead_queue
  from jobs j
 where j.status = 'failed';
comment on view dead_letters is 'Jobs that failed for good and wait for a person.';

do $$
begin
  if current_setting('server_version_num')::int >= 150000 then
    alter view dead_letters set (security_invoker = true);
  end if;
end $$;
