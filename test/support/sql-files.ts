import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Db, Tx } from '../../worker/base/db/db.ts';

const root = join(import.meta.dirname, '../..');

export type SqlFile = { path: string; text: string };

/** The `.sql` files under some folders of the repository, by path. */
export function sqlFiles(...folders: string[]): SqlFile[] {
  return folders
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
    )
    .filter((path) => path.endsWith('.sql'))
    .toSorted()
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

/** Runs a file of sql/, after edits as a person would make them: from what stands there to what is meant. */
export async function runFile(
  tx: Tx,
  path: string,
  edits: Record<string, string> = {},
): Promise<Record<string, any>[]> {
  let text = readFileSync(join(root, 'sql', path), 'utf8');
  for (const [from, to] of Object.entries(edits)) {
    if (!text.includes(from)) throw new Error(`${path} has no ${from} to edit`);
    text = text.replaceAll(from, to);
  }
  return (await tx.query<Record<string, any>>(text)).rows;
}

/** Runs `work` in a transaction of which nothing is kept. */
export async function rolledBack<T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> {
  const tx = await db.connect();
  try {
    await tx.query('begin');
    return await work(tx);
  } finally {
    await tx.query('rollback');
    tx.release();
  }
}

/**
 * A job of every status in publish and media, live and archived, with errors, a file, and the worker that runs them.
 */
export async function addSomeJobs(tx: Tx): Promise<void> {
  await tx.query(`
    insert into workers (id, host, pid, version, queues)
    values ('00000000-0000-4000-8000-000000000001', 'host', 1, '0.0.0', array['publish', 'media']);

    insert into auction_files (id, source_key, publish_status)
    values ('00000000-0000-4000-8000-00000000000a', 'lots/1.jpg', 'pending'),
           ('00000000-0000-4000-8000-00000000000b', 'lots/2.jpg', 'pending');

    insert into jobs (queue, kind, status, attempt, retry_count, max_retries, error_code, error, locked_by, started_at,
      completed_at, run_at, archived)
    select q.queue, q.kind, s.status, s.attempt, s.retries, 5, s.code, s.code, s.worker::uuid,
           case when s.attempt > 0 then now() - interval '3 seconds' end,
           case when s.ended then now() - interval '1 second' end,
           now() + s.due, s.archived
      from (values ('publish', 'file'), ('media', 'image')) as q (queue, kind)
     cross join (values
       ('pending',    0, 0, null,          null,                                   false, interval '0',         false),
       ('pending',    0, 0, null,          null,                                   false, interval '1 hour',    false),
       ('pending',    1, 1, 'timeout',     null,                                   false, interval '1 minute',  false),
       ('processing', 1, 0, null,          '00000000-0000-4000-8000-000000000001', false, interval '0',         false),
       ('completed',  1, 0, null,          null,                                   true,  interval '0',         false),
       ('completed',  1, 0, null,          null,                                   true,  interval '0',         true),
       ('cancelled',  0, 0, null,          null,                                   true,  interval '0',         true),
       ('failed',     6, 5, 'worker_lost', null,                                   true,  interval '0',         false)
     ) as s (status, attempt, retries, code, worker, ended, due, archived)
     order by q.queue, s.status, s.due, s.archived;

    insert into job_errors (queue, job_id, attempt, error_code, error)
    select queue, id, attempt, error_code, error from jobs where error_code is not null;
  `);
}

/** A delivery of every status by SMTP, one that Twilio never was asked for, and those whom they were for. */
export async function addSomeDeliveries(tx: Tx): Promise<void> {
  await tx.query(`
    insert into notifications (id, message_id, channel) values ('n', 'welcome-17', 'email');

    insert into notification_deliveries (notification_id, channel, recipient_hash, status, provider, error_code,
      sending_at, sent_at)
    select 'n', 'email', status, status, 'smtp',
           case status when 'failed' then 'invalid_recipient' when 'bounced' then 'message_undelivered'
                       when 'ambiguous' then 'unknown_outcome' when 'skipped' then 'suppressed' end,
           now(), case when status in ('sent', 'delivered', 'read', 'bounced') then now() end
      from unnest(array['queued', 'sending', 'sent', 'delivered', 'read', 'failed', 'bounced', 'ambiguous',
                        'skipped']) status
    union all
    select 'n', 'sms', 'nobody', 'failed', null, 'template_not_found', null, null;

    insert into suppressions (channel, recipient_hash, list, reason)
    values ('email', 'a', '', 'bounced'), ('email', 'b', '', 'bounced'), ('email', 'a', 'news', 'unsubscribed');
  `);
}

/** The roles of Supabase's API, where the server does not have them. Another test may make them at this moment. */
export async function addSupabaseRoles(db: Db | Tx): Promise<void> {
  await db.query(`
    do $$
    declare
      role text;
    begin
      foreach role in array array['service_role bypassrls', 'anon', 'authenticated'] loop
        begin
          execute 'create role ' || role;
        exception when duplicate_object or unique_violation then
          null;
        end;
      end loop;
    end $$`);
}
