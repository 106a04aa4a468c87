-- Sensitive values in payloads: an address, a token, a login code. A kind names them, and a worker with SEAL_KEYS
-- replaces each by "sealed:<key>:<base64>" (worker/base/seal.ts). Without SEAL_KEYS, the values of jobs that have ended
-- are removed after queues.keep_sensitive: "sealed:removed" stands in their place.
--
-- Locks: queues, for a moment (ACCESS EXCLUSIVE). Undo: drop the function and the two columns, and delete the rows.

alter table queues
  add column keep_sensitive  interval not null default '7 days' check (keep_sensitive >= '0'),
  add column sensitive_until timestamptz;
comment on column queues.keep_sensitive is
  'Without SEAL_KEYS: how long the sensitive values of a job stay in its row after it has ended.';
comment on column queues.sensitive_until is
  'Archived jobs that were completed before then have been searched for sensitive values in the clear. Null: none has. '
  'Set it to null to have the archive searched again.';

create function put_values(document jsonb, changes jsonb) returns jsonb
  language plpgsql immutable
  set search_path from current
as $$
declare
  change record;
begin
  for change in
    select c.place, c.was, c.value
      from pg_catalog.jsonb_to_recordset(changes) as c (place text[], was jsonb, value jsonb)
  loop
    if change.was is null or document #> change.place = change.was then
      document := case when pg_catalog.cardinality(change.place) = 0 then change.value
                       else pg_catalog.jsonb_set(document, change.place, change.value, false) end;
    end if;
  end loop;
  return document;
end $$;
comment on function put_values is
  'A document with other values in some places. A change with `was` is made only if that is the value there.';

insert into error_codes (code, family, what, cause, solution) values

('seal_key_unknown', 'SealError',
 'A value of the payload is sealed by a key that this worker does not have.',
 'SEAL_KEYS is not set here, or lacks the key: it was removed too early, or not yet deployed to each worker.',
 'Add the key to SEAL_KEYS, behind the active one, and restart the workers. Then retry the job.'),

('sealed_elsewhere', 'SealError',
 'A value of the payload was sealed for another row or another field.',
 'Somebody copied a sealed value, by hand or by a program.',
 'Write the value in the clear into the row, or add the job anew. A worker seals it again.'),

('sealed_damaged', 'SealError',
 'A sealed value of the payload does not open.',
 'It was changed by hand, or the key in SEAL_KEYS has the id of another one that sealed it.',
 'Correct the key in SEAL_KEYS, or write the value in the clear into the row. Then retry the job.'),

('sensitive_removed', 'SealError',
 'A sensitive value of the payload has been removed.',
 'The job had ended longer ago than queues.keep_sensitive, and SEAL_KEYS was not set.',
 'Write the value into the row again, or add the job anew. With SEAL_KEYS such values are kept, sealed.');
