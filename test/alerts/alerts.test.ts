import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { eventually } from '../support/eventually.ts';
import { slow } from '../support/everything.ts';
import { add } from '../support/jobs.ts';
import { spawnRowmill } from '../support/processes.ts';
import { startVendor, type Vendor } from '../support/vendor.ts';
import { createRig, type Rig } from '../support/worker.ts';

// Alerts end to end: two processes of `rowmill start` on one database, a receiver on loopback. Both processes
// sweep ten times a second.

let rig: Rig;
let dir: string;
let receiver: Vendor;
let env: Record<string, string>;
const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

before(async () => {
  [rig, dir, receiver] = await Promise.all([
    createRig(),
    mkdtemp(join(tmpdir(), 'alerts-')),
    startVendor(() => ({ status: 200 })),
  ]);
  await rig.db.query(`update queues set backoff_ms = 20`);
  env = {
    DATA_DIR: dir,
    QUEUES: 'notification,media',
    WORKER_POLL_INTERVAL: '100',
    SWEEP_INTERVAL: '100',
    ALERT_SWEEP_INTERVAL: '100',
    ALERT_WEBHOOK_URL: `${receiver.url}/alerts`,
    WEBHOOK_SECRET: secret,
    WEBHOOK_ALLOW: '127.0.0.1',
    SEAL_KEYS: `k1:${Buffer.alloc(32, 7).toString('base64')}`,
  };
});
after(async () => {
  await rig.close();
  await Promise.all([receiver.close(), rm(dir, { recursive: true })]);
});

const sweeps = async () => (await rig.db.query(`select swept_at from alert_turn`)).rows[0].swept_at as Date;
/** Waits until so many sweeps have begun after now. */
async function sweptAgain(times = 3): Promise<void> {
  for (let time = 0; time < times; time++) {
    const last = await sweeps();
    await eventually(async () => assert.notDeepEqual(await sweeps(), last));
  }
}

slow('two processes tell once, also if one is killed while it sends', async () => {
  receiver.fail('hang', 1);
  const first = await spawnRowmill(rig.db.url, env);
  await add(rig.db, 'media', 'no_such_kind');
  await receiver.hanging();
  const second = await spawnRowmill(rig.db.url, env);
  first.kill('SIGKILL');
  if (first.signalCode === null) await once(first, 'exit');
  await eventually(() => assert.equal(receiver.taken.length, 1));
  const { body, headers } = receiver.taken[0]!;
  const event = new Webhook(secret).verify(body, headers as Record<string, string>) as any;
  assert.match(event.text, /1 dead letter of media\.no_such_kind, unknown_kind/);
  const { rows: jobs } = await rig.db.query(`select payload from notification_jobs order by id`);
  assert.equal(jobs.length, 1);
  assert.match(jobs[0].payload.webhook.url, /^sealed:/);
  await sweptAgain();
  // A webhook may come again under the same id.
  const told = new Map(receiver.taken.map((taken) => [taken.headers['webhook-id'], taken.body]));
  assert.deepEqual([...told.values()], [body]);
  second.kill('SIGKILL');
  await once(second, 'exit');
});
