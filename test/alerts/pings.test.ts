import assert from 'node:assert/strict';
import { after, before, beforeEach, suite, test } from 'node:test';
import { pingFleet, pingSchedules } from '../../worker/alerts/pings.ts';
import { watchOutage } from '../../worker/alerts/outage.ts';
import { createApp, type App } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { runSchedule } from '../../worker/queue/schedule/schedules.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { add } from '../support/jobs.ts';
import { silent } from '../support/log.ts';
import { startVendor, type Vendor } from '../support/vendor.ts';

// Pings to a receiver on loopback, of rows that this test writes: no worker runs.

let db: TestDatabase;
let receiver: Vendor;
let app: App;
const { signal } = new AbortController();
const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const configOf = (env: Record<string, string> = {}) =>
  loadConfig({ NODE_ENV: 'test', WEBHOOK_ALLOW: '127.0.0.1', FLEET_PING_URL: `${receiver.url}/fleet`, ...env });

before(async () => {
  [db, receiver] = await Promise.all([createDatabase(), startVendor(() => ({ status: 200 }))]);
  app = createApp(
    configOf({ ALERT_WEBHOOK_URL: `${receiver.url}/alert`, WEBHOOK_SECRET: secret, ALERT_OUTAGE_AFTER: '1000' }),
    db.url,
    silent,
  );
});
beforeEach(async () => {
  receiver.heal();
  receiver.taken.length = 0;
  await db.query(`delete from schedules; delete from schedule_pings; delete from jobs;
                  update queues set paused = false; update alert_turn set pinged_at = '-infinity'`);
});
after(async () => {
  await app.close();
  await receiver.close();
  await db.drop();
});

async function scheduled(url = `${receiver.url}/uuid?create=1`): Promise<number> {
  await db.query(
    `insert into schedules (name, cron, queue, kind, payload, ping_url)
     values ('nightly', '0 3 * * *', 'media', 'x', '{"canary": "secret"}', $1)
     on conflict (name) do update set ping_url = excluded.ping_url`,
    [url],
  );
  return (await runSchedule(db, 'nightly'))!;
}
const set = (id: number, status: string, code: string | null = null) =>
  db.query(`update jobs set status = $2, error_code = $3, error = 'secret words' where id = $1`, [id, status, code]);
/** The pool of the test is more patient than that of a worker. */
const parts = () => ({ db, config: app.config, log: silent });
const ping = () => pingSchedules(parts(), signal);
const paths = () => receiver.taken.map(({ path }) => path.replace(/&?rid=[0-9a-f-]{36}$/, ''));
const left = async () => (await db.query(`select * from schedule_pings`)).rows;
/** Lets the time of a lease pass. */
const again = () => db.query(`update schedule_pings set next_at = now()`);

suite('a schedule', () => {
  test('the start, then the end, each once, joined by an id', async () => {
    const id = await scheduled();
    await ping();
    assert.deepEqual(paths(), []);
    await set(id, 'processing');
    await ping();
    await ping();
    await set(id, 'completed');
    await Promise.all([ping(), ping(), ping()]);
    assert.deepEqual(paths(), ['/uuid/start?create=1', '/uuid?create=1']);
    const [first, second] = receiver.taken.map(({ path }) => new URL(path, receiver.url).searchParams.get('rid'));
    assert.equal(first, second);
    assert.match(first!, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.deepEqual(await left(), []);
  });

  test('a failure has the code and what the catalogue says, and never a payload or the error', async () => {
    await set(await scheduled(), 'failed', 'raid_timeout');
    await ping();
    assert.deepEqual(paths(), ['/uuid/fail?create=1']);
    assert.match(receiver.taken[0]!.body, /raid_timeout\n.{20}/);
    assert.doesNotMatch(receiver.taken[0]!.body, /secret/);
    await set(await scheduled(), 'cancelled', 'expired');
    await ping();
    assert.match(receiver.taken[1]!.body, /was cancelled: expired/);
  });

  test('what is not taken is told again, and given up after half an hour', async () => {
    await set(await scheduled(), 'completed');
    receiver.fail({ status: 500 });
    await ping();
    await ping();
    assert.equal((await left())[0].tries, 1);
    receiver.heal();
    await again();
    await ping();
    assert.deepEqual([paths(), await left()], [['/uuid?create=1'], []]);
    await set(await scheduled(), 'completed');
    receiver.fail('drop');
    for (let tries = 0; tries < 10; tries++) {
      await again();
      await ping();
    }
    assert.deepEqual(await left(), []);
  });

  test('a process that died between claim and answer: another one tells', async () => {
    await set(await scheduled(), 'completed');
    receiver.fail('hang', 1);
    const dying = new AbortController();
    const dead = pingSchedules(parts(), dying.signal);
    await receiver.hanging();
    dying.abort();
    await dead;
    await ping();
    assert.deepEqual(paths(), []);
    await again();
    await ping();
    assert.deepEqual(paths(), ['/uuid?create=1']);
  });

  test('addresses that webhooks may not go to are not asked', async () => {
    const id = await scheduled(receiver.url.replace('127.0.0.1', '127.0.0.2'));
    await set(id, 'completed');
    await ping();
    assert.equal((await left()).length, 1);
    for (const url of ['ftp://a.b', 'http://a b', 'javascript:alert(1)'])
      await assert.rejects(scheduled(url), /schedules_ping_url_check/);
    const quiet = { ...parts(), config: configOf({ WEBHOOK_ALLOW: '' }) };
    await again();
    await pingSchedules(quiet, signal);
    assert.equal((await left())[0].tries, 1);
  });

  test('a job that is gone, and a schedule without an address', async () => {
    await scheduled();
    await db.query('delete from jobs');
    await ping();
    assert.deepEqual([paths(), await left()], [[], []]);
    await db.query(`update schedules set ping_url = null`);
    await runSchedule(db, 'nightly');
    assert.deepEqual(await left(), []);
  });
});

suite('the fleet', () => {
  const due = () => add(db, 'media', 'x', { run_at: new Date(Date.now() - 60_000) });

  test('once a minute however many ask, while jobs are claimed or none is due', async () => {
    await Promise.all([1, 2, 3, 4].map(() => pingFleet(parts(), false, signal)));
    assert.deepEqual(paths(), ['/fleet']);
    await db.query(`update alert_turn set pinged_at = now() - interval '1 minute'`);
    await due();
    await pingFleet(parts(), false, signal);
    assert.equal(receiver.taken.length, 1);
    await pingFleet(parts(), true, signal);
    assert.equal(receiver.taken.length, 2);
  });

  test('jobs of a paused queue may wait', async () => {
    await due();
    await db.query(`update queues set paused = true where name = 'media'`);
    await pingFleet(parts(), false, signal);
    assert.deepEqual(paths(), ['/fleet']);
  });
});

suite('Postgres cannot be reached', () => {
  /** As if the outage began a while ago. */
  const old = async (outage: ReturnType<typeof watchOutage>) => {
    await outage.goesOn();
    await new Promise((resolve) => setTimeout(resolve, 1_100));
  };

  test('it is posted once, signed, and once when it is over', async () => {
    const outage = watchOutage(app, 'postgres://u:canary@127.0.0.1:1/x', signal);
    await old(outage);
    assert.deepEqual(paths(), []);
    for (let times = 0; times < 3; times++) await outage.goesOn();
    assert.deepEqual(paths(), ['/alert']);
    const { body, headers } = receiver.taken[0]!;
    assert.equal(JSON.parse(body).data.alerts[0].condition, 'postgres_unreachable');
    assert.ok(headers['webhook-signature']);
    assert.doesNotMatch(body, /canary/);
    for (let times = 0; times < 3; times++) await outage.over();
    assert.deepEqual(paths(), ['/alert', '/alert']);
    assert.match(JSON.parse(receiver.taken[1]!.body).text, /RESOLVED/);
  });

  test('a post that fails is tried again; an exhausted pool is no outage', async () => {
    const outage = watchOutage(app, 'postgres://u:p@127.0.0.1:1/x', signal);
    await old(outage);
    receiver.fail('drop', 1);
    await outage.goesOn();
    await outage.goesOn();
    assert.deepEqual(paths(), ['/alert']);
    const healthy = watchOutage(app, db.url, signal);
    await old(healthy);
    await healthy.goesOn();
    assert.deepEqual(paths(), ['/alert']);
  });
});
