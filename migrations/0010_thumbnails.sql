-- A media job whose payload names its media row, as the messages of the media worker do ({"mediaId": "..."}), is a job about that file: its
-- file_id is filled in, so that media.status follows it like any other.
--
-- That happens at insert, or, where the row of media comes later than its job, when the job's status next changes, as at its start.
-- A mediaId that is no uuid, or that no row has, is left as it is: the handler says so.
--
-- Locks: a short SHARE ROW EXCLUSIVE on media_jobs. Undo: drop the trigger and the function.

create function media_job_file() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if new.payload ->> 'mediaId' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    select id into new.file_id from media where id = (new.payload ->> 'mediaId')::uuid;
  end if;
  return new;
end $$;
comment on function media_job_file is 'Fills in the file_id of a media job from the mediaId of its payload.';

do $$
begin
  if (select atttypid from pg_attribute where attrelid = 'media'::regclass and attname = 'id') <> 'uuid'::regtype then
    return;  -- As in 0004: file_id cannot name its rows.
  end if;
  create trigger media_job_file before insert or update of status on media_jobs
    for each row when (new.file_id is null and new.payload ? 'mediaId' and not new.archived)
    execute function media_job_file();
end $$;
