import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { slow } from '../support/everything.ts';
import { spawnRowmill } from '../support/processes.ts';
import { startSmtp } from '../support/smtp.ts';
import { startVendor } from '../support/vendor.ts';

// Real processes, a real receiver of webhooks and a real mail server. Of an hour only the rows know.

/** TEST_JOBS=50000 makes it the size that a bad deployment has. */
const jobs = Number(process.env['TEST_JOBS'] ?? 400);
const minutes = 600_000;

slow('many jobs die on two processes: one alert, digests, resolved; a process and a channel die, too', async (t) => {
  const db = await createDatabase();
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-alerts-'));
  const [receiver, smtp] = await Promise.all([startVendor(() => ({ status: 200, body: '' })), startSmtp()]);
  const children: ChildProcess[] = [];
  t.after(async () => {
    await Promise.all(children.map(killed));
    await Promise.all([receiver.close(), smtp.close(), db.drop(), rm(dir, { recursive: true })]);
  });
  const killed = async (child: ChildProcess) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  const start = async () => {
    const child = await spawnRowmill(db.url, {
      DATA_DIR: dir,
      TEMP_DIR: dir,
      ALERT_SWEEP_INTERVAL: '300',
      ALERT_WEBHOOK_URL: `${receiver.url}/ops`,
      WEBHOOK_ALLOW: '127.0.0.1',
      WEBHOOK_SECRET: `whsec_${Buffer.alloc(32).toString('base64')}`,
      ALERT_EMAIL: 'ops@example.com',
      SMTP_URL: smtp.url,
      EMAIL_FROM: 'rowmill@example.com',
    });
    children.push(child);
    return child;
  };
  const told = () =>
    receiver.taken.map(({ body }) => {
      const { alerts } = JSON.parse(body).data as { alerts: { condition: string; state: string; count: number }[] };
      return alerts.map(({ condition, state, count }) => ({ condition, state, count }));
    });
  const states = () => told().map((alerts) => alerts.map(({ condition, state }) => `${condition} ${state}`).join());
  const dies = (kind: string, many: number) =>
    db.query(`insert into media_jobs (kind, payload, max_retries) select $1, '{}', 0 from generate_series(1, $2)`, [
      kind,
      many,
    ]);
  const dead = (many: number) =>
    eventually(async () => {
      const { rows } = await db.query(`select count(*) as jobs from media_jobs where status = 'failed'`);
      assert.equal(rows[0].jobs, many);
    }, minutes);
  /** So much time passes for alerts and their messages. */
  const pass = (interval: string) =>
    db.query(
      `update alerts set opened_at = opened_at - $1::interval, last_sent_at = last_sent_at - $1::interval,
                         seen_at = seen_at - $1::interval, resolved_at = resolved_at - $1::interval;
       update alert_messages set created_at = created_at - $1::interval`.replaceAll('$1', `'${interval}'`),
    );

  const [one] = await Promise.all([start(), start()]);
  await dies('no_such_kind', jobs);
  await eventually(() => assert.deepEqual(states(), ['dead_letters opened']), minutes);
  await dead(jobs);
  // Killed in the middle of a request, it would be sent again, with the same webhook-id.
  await eventually(async () => {
    const { rows } = await db.query(`select status from notification_jobs`);
    assert.deepEqual(
      rows.map(({ status }) => status),
      ['completed', 'completed'],
    );
  });
  await killed(one);
  await start();
  await dies('no_such_kind', 10);
  await dead(jobs + 10);
  assert.deepEqual(states(), ['dead_letters opened']);

  await pass('16 minutes');
  await eventually(() => assert.deepEqual(told()[1], [{ condition: 'dead_letters', state: 'open', count: jobs + 10 }]));
  // Both ways tell the same.
  await eventually(() => assert.equal(smtp.mails.length, 2));

  await db.query(`update alert_rules set patience = '1 second' where condition = 'alert_channel'`);
  receiver.fail({ status: 503 });
  await dies('another', 1);
  // In one email if one sweep saw both, else in two.
  await eventually(() => {
    const mails = smtp.mails.slice(2).map(({ source }) => source);
    for (const words of [/another/, /Alerts do not arrive over webhook/])
      assert.ok(
        mails.some((mail) => words.test(mail)),
        mails.join('\n'),
      );
  });
  const before = smtp.mails.length;
  await pass('16 minutes');
  await dies('another', 1);
  await eventually(() => assert.equal(smtp.mails.length, before + 1));
  assert.doesNotMatch(smtp.mails.at(-1)!.source.replace(/^Subject:.*/m, ''), /do not arrive over webhook/);

  receiver.heal();
  await db.query(`delete from media_jobs`);
  await db.query(`update notification_jobs set run_at = now() where status = 'pending'`);
  await pass('31 seconds');
  await eventually(() => assert.ok(states().at(-1)!.includes('dead_letters resolved'), states().join(' | ')));
  assert.equal(
    told()
      .flat()
      .filter(({ state }) => state === 'opened').length,
    2,
  );
});
