import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { eventually } from '../support/eventually.ts';
import { slowIf } from '../support/everything.ts';
import { add, reads } from '../support/jobs.ts';
import { spawnRowmill } from '../support/processes.ts';
import { startSmtp, type FakeSmtp } from '../support/smtp.ts';
import { createRig, type Rig } from '../support/worker.ts';

// A worker is killed while it sends three emails: before one is requested, while one is on its way, and after one was
// taken.

let rig: Rig;
let dir: string;
let smtp: FakeSmtp;
let env: Record<string, string>;
before(async () => {
  [rig, dir, smtp] = await Promise.all([createRig(), mkdtemp(join(tmpdir(), 'killed-')), startSmtp()]);
  env = { QUEUES: 'notification', SMTP_URL: smtp.url, EMAIL_FROM: 'hello@shop.example', SWEEP_INTERVAL: '100' };
  // An attempt stands still where it opens its delivery, or where it commits.
  await rig.db.query(`
    update queues set backoff_ms = 20 where name = 'notification';
    create function stall() returns trigger language plpgsql as
      $$ begin perform pg_advisory_xact_lock(7); return new; end $$;
    create trigger stall_opening before insert on notifications for each row
      when (new.message_id like 'before %') execute function stall();
    create trigger stall_commit before update on notifications for each row
      when (new.message_id like 'after %' and new.status = 'sent') execute function stall()`);
});
after(async () => {
  await rig.close();
  await Promise.all([smtp.close(), rm(dir, { recursive: true })]);
});

/** Waits until so many attempts stand still. */
const stalled = (count: number) =>
  eventually(async () => {
    const { rows } = await rig.db.query(
      `select from pg_locks
        where locktype = 'advisory' and objid = 7 and not granted
          and database = (select oid from pg_database where datname = current_database())`,
    );
    assert.equal(rows.length, count);
  });

const unknown = { status: 'failed', error_code: 'unknown_outcome', attempt: 2 };
const sent = { status: 'completed', attempt: 2 };

for (const [setting, ends, mails] of [
  ['fail', { before: sent, during: unknown, after: unknown }, { before: 1, after: 1 }],
  // What was on its way has not been taken.
  ['resend', { before: sent, during: sent, after: sent }, { before: 1, during: 1, after: 2 }],
] as const)
  slowIf(setting === 'resend')(`AMBIGUOUS_SEND=${setting}`, async (t) => {
    smtp.heal();
    smtp.mails.length = 0;
    const holder = await rig.db.connect();
    t.after(() => holder.release());
    await holder.query('select pg_advisory_lock(7)');
    const killed = await spawnRowmill(rig.db.url, { ...env, DATA_DIR: dir, WORKER_POLL_INTERVAL: '100' });
    const send = (moment: string) =>
      add(rig.db, 'notification', 'email', {
        payload: { message_id: `${moment} ${setting}`, email: `${moment}@example.com`, title: 'Hello', body: 'x' },
      });
    smtp.fail('data', 'hang', 1);
    const during = await send('during');
    await smtp.hanging();
    const taken = await send('after');
    await stalled(1);
    const untouched = await send('before');
    await stalled(2);
    killed.kill('SIGKILL');
    if (killed.signalCode === null) await once(killed, 'exit');
    await holder.query('select pg_advisory_unlock(7)');

    const next = await rig.worker(await loadRegistry(), { ...env, AMBIGUOUS_SEND: setting });
    await reads(rig.db, untouched, ends.before);
    await reads(rig.db, during, ends.during);
    await reads(rig.db, taken, ends.after);
    await next.stop();
    const times = Object.groupBy(smtp.mails, ({ to }) => to[0]!.split('@')[0]!);
    assert.deepEqual(Object.fromEntries(Object.entries(times).map(([moment, all]) => [moment, all!.length])), mails);
    const { rows } = await rig.db.query(`select job_id, status from notification_deliveries where job_id = any($1)`, [
      [during, taken],
    ]);
    const status = setting === 'fail' ? 'ambiguous' : 'sent';
    assert.deepEqual(
      rows.map((row) => row.status),
      [status, status],
    );
  });
