-- What people look at. Views run with the rights of who reads them (Postgres 15 and later). Before, row level security does not hold behind
-- them: who may read a view on Postgres 14 sees all of it.
-- Locks: none. Undo: drop the views.

create view dead_letters as
select j.*, j.queue || '.dead' as dead_queue
  from jobs j
 where j.status = 'failed';
comment on view dead_letters is 'Jobs that failed for good and wait for a person.';

create view queue_depth as
select q.name as queue,
       count(*) filter (where j.status = 'pending' and j.run_at <= now())                        as waiting,
       count(*) filter (where j.status = 'processing')                                           as active,
       q.archived_completed + count(*) filter (where j.status = 'completed' and not j.archived)  as completed,
       count(*) filter (where j.status = 'failed')                                               as failed,
       count(*) filter (where j.status = 'pending' and j.run_at > now())                         as delayed,
       q.paused
  from queues q
  left join jobs j on j.queue = q.name and not j.archived
 group by q.name;
comment on view queue_depth is 'What each queue holds now. Its time does not grow with the history.';
comment on column queue_depth.completed is 'Completed so far; pruning the history does not lower it.';

do $$
begin
  if current_setting('server_version_num')::int >= 150000 then
    alter view dead_letters set (security_invoker = true);
    alter view queue_depth set (security_invoker = true);
  end if;
end $$;
