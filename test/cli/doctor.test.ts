import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createClient } from '../../worker/base/db.ts';
import { RetryableError } from '../../worker/base/errors.ts';
import { judgeCapacity } from '../../worker/cli/doctor/capacity.ts';
import { checkDirect } from '../../worker/cli/doctor/direct.ts';
import { judgeFfmpeg } from '../../worker/cli/doctor/ffmpeg.ts';
import { checkHorizon, judgeHorizon } from '../../worker/cli/doctor/horizon.ts';
import { checkNode } from '../../worker/cli/doctor/host.ts';
import { checkClock, checkVersion } from '../../worker/cli/doctor/postgres.ts';
import { startStandIn } from '../../worker/cli/demo/raid.ts';
import { createFfmpeg } from '../../worker/media/ffmpeg.ts';
import type { Capabilities } from '../../worker/media/ffmpeg/capabilities.ts';
import { processConnections } from '../../worker/queue/connections.ts';
import { runRowmill } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { ffmpegs } from '../support/ffmpegs.ts';
import { add } from '../support/jobs.ts';
import { startPooler } from '../support/pooler.ts';

// `rowmill doctor`: what it finds, and that it says how to mend it.

let db: TestDatabase;
let dir: string;
before(async () => {
  db = await createDatabase();
  dir = await mkdtemp(join(tmpdir(), 'rowmill-doctor-'));
});
after(async () => {
  await db.drop();
  await rm(dir, { recursive: true, force: true });
});

type Found = Record<string, { state: string; detail: string; mend?: string }>;

async function examine(env: Record<string, string> = {}): Promise<{ code: number | null; ok: boolean; found: Found }> {
  const base = { DATABASE_URL: db.url, DATA_DIR: dir, TEMP_DIR: dir };
  const { code, stdout, stderr } = await runRowmill(['doctor', '--json'], { env: { ...base, ...env } });
  assert.equal(stderr, '');
  const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: (Found[string] & { name: string })[] };
  for (const check of checks) if (check.state !== 'ok') assert.ok(check.mend, `${check.name} says how to mend it`);
  return { code, ok, found: Object.fromEntries(checks.map(({ name, ...check }) => [name, check])) };
}

test('where all is well it says so, line by line, and exits 0', async (t) => {
  const here = await createFfmpeg(ffmpegs[0]!.config).capabilities();
  const raid = await startStandIn(new Map(), 'sesame');
  t.after(raid.close);
  const { code, ok, found } = await examine({ RAID_PUB_ENDPOINT: raid.endpoint, RAID_PUBLISHER_SECRET: 'sesame' });
  assert.deepEqual([code, ok], [0, true]);
  const states = Object.entries(found).map(([name, { state }]) => `${state} ${name}`);
  assert.deepEqual(states, [
    'ok Node',
    'ok pictures',
    'ok environment',
    'ok temp dir',
    `${judgeFfmpeg(here, undefined).state} ffmpeg`,
    'ok Postgres',
    'ok connection',
    'ok capacity',
    'ok clock',
    'ok vacuum',
    'ok rights',
    'ok migrations',
    'warn workers',
    'ok queues',
    'ok schedules',
    'ok dead letters',
    'ok storage',
    'ok RAID',
  ]);

  const { stdout } = await runRowmill(['doctor'], { env: { DATABASE_URL: db.url, DATA_DIR: dir } });
  assert.match(stdout, /^ok {4}Node {10}24\./m);
  assert.match(stdout, /^ok {4}environment {3}no faults; .*DATABASE_URL, DATA_DIR.* set$/m);
  assert.match(stdout, /^warn {2}workers {7}no worker is running\n {20}mend: rowmill start$/m);
});

test('all faults of the environment are named at once', async () => {
  const { code, found } = await examine({ PORT: 'x', B2_BUCKET: 'b' });
  assert.equal(code, 1);
  assert.match(found['environment']!.detail, /PORT: [^]*B2_KEY_ID: is missing/);
});

test('a queue in QUEUES that is none is found before a worker stumbles over it', async () => {
  const { code, found } = await examine({ QUEUES: 'publish,mdia' });
  assert.equal(code, 1);
  assert.match(found['served']!.detail, /^QUEUES: there is no queue mdia; there are .*media/);
  assert.equal((await examine({ QUEUES: 'publish,media' })).found['served'], undefined);
});

test('a database that cannot be had is found, and the rest is still looked at', async () => {
  const wrong = new URL(db.url);
  wrong.password = 'sesame-sesame';
  const { code, found } = await examine({ DATABASE_URL: wrong.href });
  assert.equal(code, 1);
  assert.match(found['Postgres']!.detail, /password authentication failed/);
  assert.equal(found['Postgres']!.mend, 'check the user and the password in DATABASE_URL');
  assert.equal(found['storage']!.state, 'ok');
  assert.doesNotMatch(JSON.stringify(found), /sesame/);
});

test('storage that cannot be written to, and a temp dir that is none', async () => {
  const file = join(dir, 'file');
  await writeFile(file, '');
  const local = await examine({ DATA_DIR: file, TEMP_DIR: join(file, 'temp') });
  assert.equal(local.code, 1);
  assert.equal(local.found['storage']!.state, 'fail');
  assert.match(local.found['temp dir']!.detail, /ENOTDIR/);

  const minio = {
    MINIO_ENDPOINT: 'http://127.0.0.1:1',
    MINIO_BUCKET: 'b',
    MINIO_ACCESS_KEY: 'k',
    MINIO_SECRET_KEY: 'sesame',
  };
  const s3 = await examine(minio);
  assert.equal(s3.code, 1);
  assert.match(s3.found['storage']!.detail, /^bucket b at http:\/\/127\.0\.0\.1:1: .*storage_unavailable/);
});

test('a temp dir that is not there yet is told of, and not made', async (t) => {
  const raid = await startStandIn(new Map(), 'sesame');
  t.after(raid.close);
  const missing = join(dir, 'not', 'yet');
  const env = { TEMP_DIR: missing, RAID_PUB_ENDPOINT: raid.endpoint, RAID_PUBLISHER_SECRET: 'sesame' };
  const { code, found } = await examine(env);
  assert.equal(code, 0);
  assert.match(found['temp dir']!.detail, /not\/yet, not there yet: the first job makes it, .* free$/);
  assert.equal(found['RAID']!.state, 'ok');
  await assert.rejects(stat(join(dir, 'not')), { code: 'ENOENT' });
});

test('ffmpeg: a wrong path, one that is too old, one that lacks something, none', async () => {
  const wrong = await examine({ FFMPEG_PATH: '/bin/true' });
  assert.equal(wrong.code, 1);
  assert.equal(wrong.found['ffmpeg']!.state, 'fail');
  assert.match(wrong.found['ffmpeg']!.detail, /^FFMPEG_PATH: \/bin\/true does not run, or is no ffmpeg$/);

  const program = { path: '/usr/bin/ffmpeg', from: 'PATH' as const };
  const good: Capabilities = {
    programs: { ffmpeg: program, ffprobe: program },
    version: '7.1',
    missing: [],
    toneMapping: true,
    statsPeriod: true,
    sandbox: 'bwrap',
  };
  const old = { ...good, programs: { ...good.programs, ffmpeg: { path: 'x', from: 'npm' as const } } };
  const absent = new RetryableError('ffmpeg_missing', 'There is no ffmpeg in PATH');
  const cases: [unknown, string[] | undefined, string, RegExp][] = [
    [good, undefined, 'ok', /^7\.1 from PATH, sandbox bwrap$/],
    [old, undefined, 'warn', /from npm.*years old/],
    [{ ...good, missing: ['libx264', 'aac'] }, undefined, 'fail', /it lacks libx264, aac$/],
    [{ ...good, toneMapping: false }, undefined, 'warn', /HDR/],
    [{ ...good, sandbox: 'none' }, undefined, 'warn', /the network/],
    [absent, undefined, 'warn', /There is no ffmpeg in PATH: jobs of queue media/],
    [absent, ['media'], 'fail', /There is no ffmpeg/],
    [absent, ['publish'], 'ok', /none is needed/],
  ];
  for (const [found, queues, state, says] of cases) {
    const check = judgeFfmpeg(found, queues);
    assert.equal(check.state, state, check.detail);
    assert.match(check.detail, says);
    assert.equal(Boolean(check.mend), state !== 'ok');
  }
});

test('RAID with another secret, or not there', async (t) => {
  const raid = await startStandIn(new Map(), 'sesame');
  t.after(raid.close);
  const refused = await examine({ RAID_PUB_ENDPOINT: raid.endpoint, RAID_PUBLISHER_SECRET: 'other' });
  assert.equal(refused.code, 1);
  assert.match(refused.found['RAID']!.detail, /raid_unauthorized/);
  assert.match(refused.found['RAID']!.mend!, /RAID_PUBLISHER_SECRET/);
  const gone = await examine({ RAID_PUB_ENDPOINT: 'http://127.0.0.1:1', RAID_PUBLISHER_SECRET: 'x' });
  assert.match(gone.found['RAID']!.detail, /raid_unavailable/);
});

test('migrations that are missing or changed', async (t) => {
  const empty = await createDatabase({ from: 'template0' });
  t.after(() => empty.drop());
  const missing = await examine({ DATABASE_URL: empty.url });
  assert.equal(missing.code, 1);
  assert.match(missing.found['migrations']!.detail, /^not applied: 0001_jobs\.sql, 0002/);
  assert.equal(missing.found['migrations']!.mend, 'run rowmill migrate');
  assert.match(missing.found['rights']!.detail, /may make the tables/);

  const own = await createDatabase();
  t.after(() => own.drop());
  await own.query(`update rowmill_migrations set checksum = 'x' where name = '0002_triggers.sql'`);
  const changed = await examine({ DATABASE_URL: own.url });
  assert.equal(changed.code, 1);
  assert.equal(changed.found['migrations']!.detail, 'changed after they were applied: 0002_triggers.sql');
});

test('a role that may not work, or from whom row level security hides the jobs', async (t) => {
  const role = `r_${randomUUID().replaceAll('-', '')}`;
  await db.query(`create role ${role} login password 'sesame'`);
  t.after(() => db.query(`drop owned by ${role}; drop role ${role}`));
  const url = new URL(db.url);
  [url.username, url.password] = [role, 'sesame'];
  const none = await examine({ DATABASE_URL: url.href });
  assert.equal(none.code, 1);
  assert.match(none.found['rights']!.detail, /may not read and write the tables/);

  await db.query(`grant select, insert, update, delete on all tables in schema public to ${role}`);
  await db.query(`grant usage on schema graphile_worker to ${role}`);
  const blind = await examine({ DATABASE_URL: url.href });
  assert.equal(blind.code, 1);
  assert.match(blind.found['rights']!.detail, /row level security hides all jobs/);
});

test('paused queues, old jobs and dead letters are warnings', async (t) => {
  const own = await createDatabase();
  t.after(() => own.drop());
  await own.query(`update queues set paused = true where name = 'media'`);
  await add(own, 'social', 'x', { status: 'failed', error_code: 'no_luck' });
  await add(own, 'cleanup', 'x');
  const { code, found } = await examine({ DATABASE_URL: own.url });
  assert.equal(code, 0);
  assert.deepEqual(
    [found['workers']!.state, found['queues']!.mend, found['dead letters']!.detail],
    ['warn', 'rowmill resume media', '1 dead letter of social.x, no_luck'],
  );
});

test('a transaction pooler is a failure, and the port of one a warning', async (t) => {
  const pooler = await startPooler(db.url, { mode: 'transaction', size: 3 });
  t.after(pooler.close);
  const { code, found } = await examine({ DATABASE_URL: pooler.url });
  assert.equal(code, 1);
  assert.match(found['connection']!.detail, /^goes through a transaction pooler/);
  assert.match(found['connection']!.mend!, /port 5432 and not 6543/);

  const sessions = [createClient(db.url), createClient(db.url)] as const;
  for (const session of sessions) await session.connect();
  t.after(() => Promise.all(sessions.map((session) => session.end())));
  const supabase = 'postgres://u:p@aws-0-eu-central-1.pooler.supabase.com:6543/postgres';
  assert.equal((await checkDirect(...sessions, supabase)).state, 'warn');
});

test('it says for how many processes there are connections', async (t) => {
  const limit = (name: string, most: number, in_use = 0) => ({ name, most, reserved: 3, in_use, ours: 1 });
  const roomOf = (...limits: Parameters<typeof judgeCapacity>[0]) => {
    const { state, detail } = judgeCapacity(limits);
    return `${state} ${/room for \w+ process(es)?/.exec(detail)![0]}`;
  };
  const one = processConnections;
  assert.equal(roomOf(limit('a', 3 * one + 2, 1)), 'ok room for 2 processes');
  assert.equal(roomOf(limit('a', 3 * one + 3, 1)), 'ok room for 3 processes');
  assert.equal(roomOf(limit('a', one + 3, 1), limit('b', 1_000, 1)), 'ok room for 1 process');
  assert.equal(roomOf(limit('a', 1_000, 1), limit('b', one + 3, 2)), 'warn room for 0 processes');
  assert.equal(roomOf(limit('a', 10, 50)), 'warn room for 0 processes');

  const { found } = await examine();
  const { rows } = await db.query('show max_connections');
  assert.match(
    found['capacity']!.detail,
    new RegExp(
      `of ${one} connections at most: max_connections is ${rows[0].max_connections}, \\d+ reserved, \\d+ in use`,
    ),
  );

  const role = `r_${randomUUID().replaceAll('-', '')}`;
  await db.query(`create role ${role} login password 'sesame' connection limit ${one - 1}`);
  t.after(() => db.query(`drop role ${role}`));
  const url = new URL(db.url);
  [url.username, url.password] = [role, 'sesame'];
  const limited = (await examine({ DATABASE_URL: url.href })).found['capacity']!;
  assert.equal(limited.state, 'warn');
  assert.match(limited.detail, new RegExp(`room for 0 .* role ${role} is ${one - 1}, 2 in use, 2 of them by Rowmill$`));
});

test('it finds what holds back vacuum', async (t) => {
  const [open, looking] = [createClient(db.url), createClient(db.url)];
  for (const client of [open, looking]) await client.connect();
  t.after(() => Promise.all([open, looking].map((client) => client.end())));
  await open.query(`set application_name = 'monthly report'; begin isolation level repeatable read`);
  const { rows } = await open.query(`select pg_backend_pid() as pid, 'canary'`);
  const { pid } = rows[0];
  const look = async (seconds: number) =>
    (await checkHorizon(looking, { seconds, transactions: 100_000 })).filter(
      ({ state, detail }) => state === 'ok' || detail.includes(`pid ${pid} `),
    );

  const found = await eventually(async () => {
    const [warning] = await look(0.5);
    assert.equal(warning?.state, 'warn');
    return { ...warning, detail: warning.detail.replace(/\d+ s/, 'n s') };
  });
  assert.deepEqual(found, {
    name: 'vacuum',
    state: 'warn',
    detail: `held back for n s by an open transaction, pid ${pid} (monthly report): the live tables grow until that ends`,
    mend: `let it commit, or end it: select pg_terminate_backend(${pid})`,
  });
  assert.deepEqual(await look(300), [
    { name: 'vacuum', state: 'ok', detail: 'nothing has held it back for more than 5 min' },
  ]);
  await open.query('commit');
  assert.deepEqual(
    (await look(0)).filter(({ state }) => state === 'warn'),
    [],
  );
});

test('prepared transactions, replication slots and standbys may hold back vacuum', () => {
  const holder = { name: "it's", pid: null, database: 'shop', age_s: null, transactions: 1_200_000 };
  const said = judgeHorizon(
    [
      { ...holder, kind: 'prepared', age_s: 7_200, transactions: 3 },
      { ...holder, kind: 'slot' },
      { ...holder, kind: 'standby', pid: 17 },
      { ...holder, kind: 'slot', transactions: 99_999 },
      { ...holder, kind: 'session', pid: 18, age_s: 299 },
    ],
    { seconds: 300, transactions: 100_000 },
  ).map(({ detail, mend }) => `${detail.replace(/^held back for |: the live tables.*/g, '')} | ${mend}`);
  assert.deepEqual(said, [
    "2 h by the prepared transaction 'it''s' | in database shop: commit prepared 'it''s', or rollback prepared 'it''s'",
    "1,200,000 transactions by the replication slot 'it''s' | end long queries on its standby; if there is none any more: select pg_drop_replication_slot('it''s')",
    "1,200,000 transactions by the standby 'it''s', pid 17 | end long queries there, or set hot_standby_feedback = off there",
  ]);
});

test('versions of Postgres and Node, and clocks that differ', () => {
  const postgres = (version_num: number) => checkVersion({ version_num, version: 'x', database: 'd' }).state;
  assert.deepEqual([130_012, 140_001, 180_004, 190_000].map(postgres), ['fail', 'ok', 'ok', 'warn']);
  assert.deepEqual(
    ['22.1.0', '24.0.0', '25.2.0'].map((version) => checkNode(version).state),
    ['fail', 'ok', 'ok'],
  );
  const at = (ms: number) => new Date(1_000_000 + ms);
  assert.equal(checkClock(at(0), 999_990, 1_000_010).state, 'ok');
  // An answer that took ten seconds says nothing about five.
  assert.equal(checkClock(at(5_000), 995_000, 1_005_000).state, 'ok');
  assert.match(checkClock(at(60_000), 1_000_000, 1_000_010).detail, /60\.0 s behind the database/);
  assert.match(checkClock(at(-60_000), 1_000_000, 1_000_010).detail, /60\.0 s ahead of the database/);
});

test('without DATABASE_URL and before anything was made, it makes nothing', async () => {
  const fresh = await mkdtemp(join(tmpdir(), 'rowmill-doctor-'));
  const { found } = await examine({ DATABASE_URL: '', DATA_DIR: join(fresh, 'data') });
  assert.equal(found['Postgres']!.state, 'warn');
  assert.match(found['Postgres']!.detail, /there is no database in /);
  await rm(fresh, { recursive: true });
});
