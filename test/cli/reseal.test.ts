import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { judgeSeals } from '../../worker/cli/doctor/seals.ts';
import { Keyring } from '../../worker/base/seal.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { createDoctor, type Doctor } from '../support/doctor.ts';
import { runRowmill } from '../support/cli.ts';
import { add, reads, rows } from '../support/jobs.ts';
import { createRig, type Rig } from '../support/worker.ts';

// A key is rotated: a new one is put in front, `rowmill reseal` runs, and the old one is removed.

const [old, fresh] = ['old', 'new'].map((kid) => `${kid}:${randomBytes(32).toString('base64')}`) as [string, string];
const to = 'canary-41d5@example.com';

let doctor: Doctor;
let rig: Rig;
let JOBS_DIR: string;

before(async () => {
  [doctor, rig] = await Promise.all([createDoctor(), createRig()]);
  JOBS_DIR = join(doctor.dir, 'jobs');
  await kinds(['to', 'data.code']);
});
after(() => Promise.all([doctor.close(), rig.close()]));

async function kinds(sensitive: string[]): Promise<void> {
  await mkdir(join(JOBS_DIR, 'notification'), { recursive: true });
  await writeFile(
    join(JOBS_DIR, 'notification/card.mjs'),
    `export default {
      name: 'notification.card',
      sensitive: ${JSON.stringify(sensitive)},
      payload: { '~standard': { version: 1, vendor: 'own', validate: (value) => ({ value }) } },
      run: async ({ payload }) => ({ letters: payload.to.length, code: payload.data.code + 1 }),
    };`,
  );
}

const run = (args: string[], SEAL_KEYS: string, url = doctor.db.url) =>
  runRowmill(args, { env: { DATABASE_URL: url, JOBS_DIR, SEAL_KEYS } });
const sealing = async (SEAL_KEYS: string) => (await doctor.examine({ JOBS_DIR, SEAL_KEYS })).found['sealing'];
const card = JSON.stringify({ to, data: { code: 41 } });

test('the doctor says which keys are in use, and whether one is missing', async () => {
  assert.deepEqual(await sealing(''), { state: 'ok', detail: 'SEAL_KEYS is not set; no row has sensitive values' });
  const clear = await run(['add', 'notification.card', card, '--run-at', '2100-01-01'], '');
  assert.equal(clear.code, 0);
  const warned = (await sealing(''))!;
  assert.equal(warned.state, 'warn');
  assert.match(warned.detail, /^SEAL_KEYS is not set: 1 row with .*notification\.card/);
  await doctor.db.query('delete from jobs');
  assert.deepEqual(await sealing(old), { state: 'ok', detail: 'SEAL_KEYS has old, of which old seals; used: none' });

  const added = await run(['add', 'notification.card', card, '--run-at', '2100-01-01'], old);
  assert.equal(added.code, 0, added.stderr);
  const [row] = await rows(doctor.db, [Number(added.stdout)]);
  assert.match(row!['payload'].to, /^sealed:old:/);
  assert.match(row!['payload'].data.code, /^sealed:old:/);
  await add(doctor.db, 'notification', 'card', { payload: JSON.parse(card), run_at: new Date('2100-01-01') });
  assert.match((await sealing(old))!.detail, /used: old in 1 row; in the clear: 1 row$/);
  assert.match((await sealing(''))!.detail, /used: old in 1 row; missing: old$/);
  assert.equal((await sealing(fresh))!.state, 'fail');
  assert.equal((await sealing(`${fresh},${old}`))!.state, 'warn');
  await doctor.db.query(`delete from jobs`);
});

test('the doctor has nothing to say where nothing is sensitive', () => {
  const nothing = { kids: {}, clear: 0 };
  assert.deepEqual(judgeSeals(nothing, [], undefined).detail, 'SEAL_KEYS is not set; no row has sensitive values');
  const rotated = judgeSeals({ kids: { old: 3, new: 1_200 }, clear: 0 }, [], new Keyring(`${fresh},${old}`));
  assert.equal(rotated.state, 'ok');
  assert.match(
    rotated.detail,
    /used: old in 3 rows, new in 1,200 rows; to remove old from it, run rowmill reseal first/,
  );
});

test('after reseal the old key can go, wherever the jobs are', async () => {
  const ids: number[] = [];
  for (const columns of [
    { run_at: new Date('2100-01-01') },
    { status: 'failed' },
    { status: 'completed' },
    { status: 'cancelled', archived: true },
  ]) {
    const { stdout } = await run(['add', 'notification.card', card, '--run-at', '2100-01-01'], old, rig.db.url);
    const sets = Object.keys(columns).map((name, at) => `${name} = $${at + 2}`);
    await rig.db.query(`update jobs set ${sets.join(', ')} where id = $1`, [Number(stdout), ...Object.values(columns)]);
    ids.push(Number(stdout));
  }
  // In the clear, of a kind that is gone, and one that no key opens.
  ids.push(await add(rig.db, 'notification', 'card', { payload: JSON.parse(card), run_at: new Date('2100-01-01') }));
  const [first] = await rows(rig.db, [ids[0]!]);
  const copied = await add(rig.db, 'notification', 'card', { payload: first!['payload'], run_at: 'infinity' });

  const place = { table: 'webhook_endpoints', row: 'shop', field: 'secret' };
  const secret = new Keyring(old).seal('whsec_x', place);
  await rig.db.query(`insert into webhook_endpoints (id, url, secret) values ('shop', 'https://x.example', $1)`, [
    secret,
  ]);

  const missing = await run(['reseal', '--json'], fresh, rig.db.url);
  assert.equal(missing.code, 1);
  assert.deepEqual(JSON.parse(missing.stdout), {
    resealed: 1,
    active: { key: 'new', rows: 1 },
    left: { old: 6 },
    clear: 0,
    unopened: { seal_key_unknown: 11 },
  });

  const partly = await run(['reseal'], `${fresh},${old}`, rig.db.url);
  assert.match(partly.stdout, /^notification_jobs_live: resealed 3 rows\nnotification_jobs_done: resealed 1 row$/m);
  assert.match(partly.stdout, /^other tables: resealed 1 row\nresealed 5 rows; 6 rows under new now$/m);
  assert.match(partly.stderr, /1 row still under old; 2 values did not open: sealed_elsewhere/);
  await rig.db.query(`delete from jobs where id = $1`, [copied]);
  const again = await run(['reseal', '--json'], `${fresh},${old}`, rig.db.url);
  assert.equal(again.code, 0, again.stderr);
  assert.deepEqual(JSON.parse(again.stdout).resealed, 0);

  for (const row of await rows(rig.db, ids)) assert.match(JSON.stringify(row['payload']), /new:.*new:/);
  const { rows: endpoints } = await rig.db.query<{ secret: string }>(`select secret from webhook_endpoints`);
  assert.equal(new Keyring(fresh).open(endpoints[0]!.secret, place), 'whsec_x');
  const env = { QUEUES: 'notification', SEAL_KEYS: fresh };
  await rig.worker(await loadRegistry(JOBS_DIR), env);
  await rig.db.query(`update jobs set status = 'pending', archived = false, run_at = now(), retry_count = 0`);
  for (const id of ids) {
    const { result } = await reads(rig.db, id, { status: 'completed' });
    assert.deepEqual(result, { letters: to.length, code: 42 });
  }
});

test('a kind may name a whole value of which it named parts before', async () => {
  await doctor.db.query(`delete from jobs`);
  const { stdout } = await run(['add', 'notification.card', card, '--run-at', '2100-01-01'], old);
  const dir = JOBS_DIR;
  JOBS_DIR = join(doctor.dir, 'later');
  await kinds(['to', 'data']);
  try {
    assert.equal((await run(['reseal'], `${fresh},${old}`)).code, 0);
    const [row] = await rows(doctor.db, [Number(stdout)]);
    const { payload, id, queue } = row as unknown as { payload: { data: string }; id: number; queue: string };
    const place = { table: 'jobs', row: `${queue}/${id}`, field: 'data' };
    assert.deepEqual(new Keyring(fresh).open(payload.data, place), { code: 41 });
  } finally {
    JOBS_DIR = dir;
  }
});

test('reseal needs keys', async () => {
  const { code, stderr } = await run(['reseal'], '');
  assert.equal(code, 2);
  assert.match(stderr, /SEAL_KEYS: must be set/);
});
