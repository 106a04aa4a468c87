import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createClient } from '../../worker/base/db/db.ts';
import { rowmillStarted, runRowmill } from '../support/cli.ts';
import { createDatabase, databaseUrl } from '../support/database.ts';

// What the command line says to those who do not know it, and of a database that is not as it should be.

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rowmill-cli-'));
});
after(() => rm(dir, { recursive: true, force: true }));

const commands = [
  'start',
  'migrate',
  'demo',
  'doctor',
  'add',
  'jobs',
  'show',
  'retry',
  'cancel',
  'reschedule',
  'priority',
  'again',
  'pause',
  'resume',
  'status',
  'schedule',
  'queue',
  'reseal',
];
const oneLine = /^error: [^\n]+\n$/;

test('each command has help with an example', async () => {
  const { code, stdout } = await runRowmill(['--help']);
  assert.equal(code, 0);
  for (const command of commands) assert.match(stdout, new RegExp(`^  ${command}\\b`, 'm'));
  for (const command of commands) {
    const help = await runRowmill([command, '--help']);
    assert.equal(help.code, 0);
    assert.match(help.stdout, new RegExp(`Example:\n  \\$ .*rowmill ${command}`));
  }
});

// The other tests run commands in their own process. `start` and `demo` have tests of their own.
test('each command works by the launcher, as a process of its own', async (t) => {
  const [db, own] = await Promise.all([createDatabase(), mkdtemp(join(tmpdir(), 'rowmill-cli-'))]);
  t.after(() => Promise.all([db.drop(), rm(own, { recursive: true })]));
  const env = { DATABASE_URL: db.url, DATA_DIR: own, TEMP_DIR: own };
  const works = async (args: string[], says: RegExp) => {
    const { code, stdout, stderr } = await rowmillStarted(args, { env }).ended;
    assert.deepEqual({ args, code, stderr }, { args, code: 0, stderr: '' });
    assert.match(stdout, says);
    return stdout.trim();
  };
  await works(['migrate'], /^up to date$/m);
  const id = await works(['add', 'publish.file'], /^\d+$/m);
  await db.query(`update publish_jobs set status = 'failed' where id = $1`, [id]);
  await works(['retry', id], /./);
  await Promise.all([
    works(['jobs'], /publish\.file/),
    works(['show', id], /^kind +file$/m),
    works(['status'], /^publish\b/m),
    works(['schedule', 'list'], /cleanup/),
    works(['queue', 'list'], /^media\b/m),
    works(['doctor'], /^ok {4}Postgres/m),
  ]);
  await works(['cancel', id], /./);
  await works(['pause', 'media'], /media/);
  await works(['resume', 'media'], /media/);
});

test('no command at all is help, and exit code 2', async () => {
  const { code, stdout, stderr } = await runRowmill([]);
  assert.deepEqual({ code, stdout }, { code: 2, stdout: '' });
  assert.match(stderr, /^Usage: rowmill/);
});

for (const [args, said] of [
  [['jobz'], /unknown command 'jobz' \(Did you mean jobs\?\)/],
  [['jobs', '--frob'], /unknown option '--frob'/],
  [['jobs', '--limit', 'x'], /'--limit <n>' argument 'x' is invalid\. It must be a whole number from 1/],
  [['jobs', '--status', 'done'], /Allowed choices are pending, processing/],
  [['show', 'abc'], /The id of a job is a whole number/],
  [['show'], /missing required argument 'id'/],
  [['show', '1', '2'], /too many arguments/],
  [['cancel'], /missing required argument 'ids'/],
  [['add', 'publish'], /It must be a queue and a kind, such as publish\.file/],
  [['add', 'publish.file', '{'], /It must be JSON/],
  [['add', 'publish.file', '--run-at', 'tomorrow'], /It must be a time such as .* or how long from now/],
  [['add', 'publish.file', '--file-id', ''], /'--file-id <id>'.*It must not be empty/],
  [['add', 'publish.file', '--dedupe-key', ''], /It must not be empty/],
  [['retry'], /retry needs ids, or --failed and --queue <queue>/],
  [['retry', '--queue', 'media'], /retry needs ids, or --failed and --queue <queue>/],
  [['retry', '1', '--failed', '--queue', 'media'], /not both/],
  [['schedule', 'sett'], /unknown command 'sett' \(Did you mean set\?\)/],
  [['schedule', 'set'], /missing required argument 'name'/],
  [['demo', 'no-such-file'], /no-such-file: there is no such file/],
] as const) {
  test(`rowmill ${args.join(' ')} is told what is wrong, with exit code 2`, async () => {
    const { code, stdout, stderr } = await runRowmill([...args], { cwd: dir });
    assert.deepEqual({ code, stdout }, { code: 2, stdout: '' });
    assert.match(stderr, oneLine);
    assert.match(stderr, said);
  });
}

test('faults of the environment are reported together, with exit code 2', async () => {
  const { code, stderr } = await runRowmill(['jobs'], { env: { DATABASE_URL: 'mysql://x', LOG_LEVEL: 'loud' } });
  assert.equal(code, 2);
  assert.match(stderr, /DATABASE_URL: must start with postgres:/);
  assert.match(stderr, /LOG_LEVEL: /);
});

test('in production the embedded Postgres is refused', async () => {
  const { code, stderr } = await runRowmill(['jobs'], { cwd: dir, env: { NODE_ENV: 'production' } });
  assert.equal(code, 2);
  assert.match(stderr, /^error: DATABASE_URL: must be set in production/);
});

test('where there is no database yet, none is made to look into', async () => {
  const { code, stderr } = await runRowmill(['jobs'], { cwd: dir });
  assert.equal(code, 1);
  assert.match(stderr, /^error: There is no database: DATABASE_URL is not set.*run rowmill migrate\n$/);
  assert.deepEqual(await readdir(dir), []);
});

test('a database that cannot be had is one line, without its password', async () => {
  const wrong = (change: (url: URL) => void) => {
    const url = new URL(databaseUrl());
    change(url);
    return runRowmill(['jobs'], { env: { DATABASE_URL: url.href } });
  };
  const runs = [
    [await wrong((url) => (url.port = '1')), /cannot be reached \(.*ECONNREFUSED.*\): check the host and the port/],
    [await wrong((url) => (url.hostname = 'nowhere.invalid')), /cannot be reached .*: check the host in DATABASE_URL/],
    [
      await wrong((url) => (url.password = 'sesame-sesame')),
      /password authentication failed .*check the user and the password/,
    ],
    [await wrong((url) => (url.pathname = '/nothing')), /database "nothing" does not exist/],
  ] as const;
  for (const [{ code, stdout, stderr }, said] of runs) {
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
    assert.match(stderr, oneLine);
    assert.match(stderr, said);
    assert.doesNotMatch(stderr, /sesame/);
  }
});

test('a database without our tables says rowmill migrate, which makes them once', async (t) => {
  const db = await createDatabase({ from: 'template0' });
  t.after(() => db.drop());
  const env = { DATABASE_URL: db.url };
  for (const args of [['jobs'], ['status'], ['show', '1'], ['pause', 'media'], ['add', 'publish.file']]) {
    const { code, stderr } = await runRowmill(args, { env });
    assert.equal(code, 1);
    assert.match(stderr, oneLine);
    assert.match(stderr, /run rowmill migrate/);
  }
  const plan = await runRowmill(['migrate', '--plan', '--with', 'messenger'], { env });
  assert.equal(plan.code, 0, plan.stderr);
  assert.match(plan.stdout, /^would apply 0000_closed\.sql\n/);
  assert.match(plan.stdout, /would apply 0019_bridges\.sql\n  Bridges: .*\n  Locks: ACCESS EXCLUSIVE on workers/);
  assert.match(plan.stdout, /would apply messenger\/0001_/);
  const { planned } = JSON.parse((await runRowmill(['migrate', '--plan', '--json'], { env })).stdout) as {
    planned: { name: string; what: string; locks?: string }[];
  };
  for (const { name, what, locks } of planned)
    assert.ok(what && locks, `${name} says what it does and which locks it takes`);
  assert.equal(
    (await db.query(`select from pg_tables where schemaname = 'public'`)).rowCount,
    0,
    'a plan changes nothing',
  );
  const first = await runRowmill(['migrate'], { env });
  assert.equal(first.code, 0);
  assert.match(first.stdout, /^applied 0000_closed\.sql\napplied 0001_jobs\.sql\n/);
  assert.deepEqual(await runRowmill(['migrate'], { env }), { code: 0, stdout: 'up to date\n', stderr: '' });
  assert.deepEqual(JSON.parse((await runRowmill(['migrate', '--json'], { env })).stdout), { applied: [] });
  assert.equal((await runRowmill(['migrate', '--plan'], { env })).stdout, 'up to date\n');
});

test('a migration that was changed is one line, with exit code 2', async (t) => {
  const db = await createDatabase();
  t.after(() => db.drop());
  const client = createClient(db.url);
  await client.connect();
  await client.query(`update rowmill_migrations set checksum = 'x' where name = '0001_jobs.sql'`);
  await client.end();
  const { code, stderr } = await runRowmill(['migrate'], { env: { DATABASE_URL: db.url } });
  assert.equal(code, 2);
  assert.match(stderr, /^error: 0001_jobs\.sql was changed after it was applied/);
});
