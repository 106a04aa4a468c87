import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { add, reads } from '../support/jobs.ts';
import { spawnRowmill } from '../support/processes.ts';
import { startSmtp, type FakeSmtp } from '../support/smtp.ts';

// A worker is killed while it sends an email: before, during, and after the provider took it.

let db: TestDatabase;
let dir: string;
let smtp: FakeSmtp;
before(async () => {
  [db, dir, smtp] = await Promise.all([createDatabase(), mkdtemp(join(tmpdir(), 'killed-')), startSmtp()]);
  await db.query(`update schedules set enabled = false`);
});
after(async () => {
  await Promise.all([db.drop(), smtp.close(), rm(dir, { recursive: true })]);
});

const start = (env: Record<string, string> = {}) =>
  spawnRowmill(db.url, {
    DATA_DIR: dir,
    QUEUES: 'notification',
    SMTP_URL: smtp.url,
    EMAIL_FROM: 'hello@shop.example',
    LOG_LEVEL: 'info',
    ...env,
  });
const send = (email: string) => add(db, 'notification', 'email', { payload: { email, title: 'Hello', body: 'x' } });
const statusOf = async (job: number) => {
  const { rows } = await db.query(`select status from notification_deliveries where job_id = $1`, [job]);
  return rows[0]?.status as string | undefined;
};

/** Kills a worker at that moment. */
async function killedWhen(moment: () => Promise<unknown>, job: () => Promise<number>): Promise<number> {
  const worker = await start();
  const id = await job();
  await moment();
  worker.kill('SIGKILL');
  await once(worker, 'exit');
  smtp.heal();
  return id;
}

test('before the request: the next worker sends it', async (t) => {
  // The attempt stands still where it would write `sending`.
  const holder = await db.connect();
  t.after(() => holder.release());
  await holder.query('begin; lock table suppressions in access exclusive mode');
  const waits = () =>
    eventually(async () => {
      const { rows } = await db.query(`select from pg_locks where relation = 'suppressions'::regclass and not granted`);
      assert.equal(rows.length, 1);
    });
  const id = await killedWhen(waits, () => send('before@example.com'));
  await holder.query('rollback');
  const next = await start();
  t.after(() => next.kill('SIGKILL'));
  await reads(db, id, { status: 'completed', attempt: 2 }, 20_000);
  assert.equal(smtp.mails.length, 1);
});

for (const [setting, ends] of [
  ['fail', { status: 'failed', error_code: 'unknown_outcome', attempt: 2 }],
  ['resend', { status: 'completed', attempt: 2 }],
] as const)
  test(`while it is on its way, with AMBIGUOUS_SEND=${setting}`, async (t) => {
    smtp.mails.length = 0;
    smtp.fail('data', 'hang');
    const id = await killedWhen(
      () => smtp.hanging(),
      () => send(`${setting}@example.com`),
    );
    assert.equal(await statusOf(id), 'sending');
    const next = await start({ AMBIGUOUS_SEND: setting });
    t.after(() => next.kill('SIGKILL'));
    await reads(db, id, ends, 20_000);
    assert.equal(smtp.mails.length, setting === 'fail' ? 0 : 1);
    assert.equal(await statusOf(id), setting === 'fail' ? 'ambiguous' : 'sent');
  });

test('after the answer and before the commit: nobody is told twice', async (t) => {
  smtp.mails.length = 0;
  // The commit stands still at the row of the notification.
  await db.query(`
    create function stall() returns trigger language plpgsql as
      $$ begin if new.status = 'sent' then perform pg_advisory_xact_lock(7); end if; return new; end $$;
    create trigger stall before update on notifications for each row execute function stall()`);
  const holder = await db.connect();
  t.after(() => holder.release());
  await holder.query('select pg_advisory_lock(7)');
  const id = await killedWhen(
    () =>
      eventually(async () => {
        const { rows } = await db.query(
          `select from pg_locks where locktype = 'advisory' and objid = 7 and not granted`,
        );
        assert.equal(rows.length, 1);
      }),
    () => send('after@example.com'),
  );
  await holder.query('select pg_advisory_unlock(7)');
  const next = await start();
  t.after(() => next.kill('SIGKILL'));
  await eventually(async () => assert.match((await statusOf(id))!, /^(ambiguous|sent)$/), 20_000);
  assert.equal(smtp.mails.length, 1);
});
