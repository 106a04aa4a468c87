import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import amqplib from 'amqplib';
import { createClient } from '../../worker/base/db/db.ts';
import { openEmbeddedPostgres, runningEmbeddedUrl } from '../../worker/embedded/postgres.ts';
import { rowmillStarted, runRowmill } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { picture } from '../support/pictures.ts';
import { noRabbitmq, rabbitmqUrl } from '../support/rabbitmq.ts';

// `rowmill demo` on a machine that has nothing, again on what it left, and the embedded Postgres as other commands see
// it.

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rowmill-demo-'));
});
after(() => rm(dir, { recursive: true, force: true }));

// What it must not listen to.
const elsewhere = { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing', B2_BUCKET: '' };

test('the demo publishes its samples on a fresh machine, and fails the broken one as it should', async () => {
  const { code, stdout, stderr } = await rowmillStarted(['demo'], { cwd: dir, env: elsewhere }).ended;
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  assert.match(
    stdout,
    /^job \d+ {2}sunset\.jpg {2}pending$[^]*sunset\.jpg {2}processing$[^]*sunset\.jpg {2}completed/m,
  );
  for (const status of ['pending', 'processing'])
    assert.equal(stdout.match(new RegExp(` {2}${status}$`, 'gm'))!.length, 10, `each is ${status} once`);
  assert.match(stdout, /^\d completed, 1 failed$/m);
  assert.match(stdout, /broken\.jpg, failed, as it should:\n {2}error_code {2}media_truncated\n/);
  assert.match(stdout, /SELECT status, count[^]*npm start\n {2}psql "\$\(cat \.data\/postgres\.url\)"/);

  const [, folder, width, height, kilobytes, file] =
    /-> {2}(\S+)\n +(\d+) x (\d+) +(\d+) kB {2}(\S+-display\.webp)$/m.exec(stdout)!;
  assert.ok(Number(width) > 100 && Number(height) > 100);
  const { size } = await stat(join(dir, folder!, file!));
  assert.equal(Math.round(size / 1_000), Number(kilobytes));
  assert.equal(await runningEmbeddedUrl(join(dir, '.data')), undefined);
});

test('a second demo works, and takes files of your own', async () => {
  await writeFile(join(dir, 'mine.webp'), await picture({ format: 'webp' }));
  const { stdout } = await rowmillStarted(['demo', '--json', 'mine.webp'], { cwd: dir }).ended;
  const { ok, jobs, files } = JSON.parse(stdout);
  assert.deepEqual([ok, jobs.length, files.length], [true, 1, 2]);
  for (const { path, bytes } of files) assert.equal((await stat(join(dir, path))).size, bytes);

  await writeFile(join(dir, 'not.jpg'), 'this is no picture');
  const own = await rowmillStarted(['demo', 'mine.webp', 'not.jpg'], { cwd: dir }).ended;
  assert.equal(own.code, 1);
  assert.match(own.stdout, /^1 completed, 1 failed$/m);
  assert.match(own.stdout, /not\.jpg, failed:\n {2}error_code {2}not_an_image\n/);
});

test('the demo of social platforms connects four accounts, publishes on each, and reports on 60 days', async () => {
  const { code, stdout, stderr } = await rowmillStarted(['demo', 'social'], { cwd: dir, env: elsewhere }).ended;
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  for (const platform of ['tiktok', 'youtube', 'instagram', 'facebook']) {
    assert.match(stdout, new RegExp(`^${platform}: connected `, 'm'));
    assert.match(stdout, new RegExp(`^${platform}: published https://www\\.${platform}\\.com/`, 'm'));
  }
  const [, path] = /^ {2}(\S+report\.html)$/m.exec(stdout)!;
  assert.match(await readFile(join(dir, path!), 'utf8'), /<svg/);
});

test('the demo of notifications sends one on each channel, repairs one, and sends none twice', async () => {
  const { code, stdout, stderr } = await rowmillStarted(['demo', 'notifications'], { cwd: dir, env: elsewhere }).ended;
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  assert.match(stdout, /^8 completed, 1 failed$/m);
  assert.match(stdout, /email, failed, as it should:\n {2}error_code {2}missing_variable\n/);
  assert.match(stdout, /^ {2}UPDATE notification_jobs$[^]* {2}email {2}completed/m);
  assert.match(stdout, /^Job \d+ sent nothing, and its result says so: repeated\.$/m);
  const [, table] = /^The stand-ins took 11 messages:\n\n.*\n([^]*?)\n\n/m.exec(stdout)!;
  const channels = table!.split('\n').map((line) => line.trim().split(' ')[0]!);
  const expected = ['email', 'email', 'email', 'push', 'push', 'push', 'push', 'slack', 'sms', 'webhook', 'whatsapp'];
  assert.deepEqual(channels.toSorted(), expected);
  assert.match(table!, /email +ada@example\.com +Your video is ready: A day in Rome$/m);
  assert.match(await readFile(join(dir, '.data/demo/email-1.html'), 'utf8'), /^<!doctype html>[^]*<\/html>/);
  assert.equal(await runningEmbeddedUrl(join(dir, '.data')), undefined);
});

test('the tour shows one of each family, mends a dead letter, and leaves the dashboard open', async (t) => {
  const { child, ended } = rowmillStarted(['demo', '--tour'], { cwd: dir, env: elsewhere });
  t.after(() => child.kill('SIGKILL'));
  let shown = '';
  child.stdout.on('data', (chunk) => (shown += String(chunk)));
  const [, page, password] = await Promise.race([
    eventually(() => {
      const found = /^ {2}(http:\S+) {3}user: any name, password: (\S+)\n {2}psql /m.exec(shown);
      assert.ok(found, shown);
      return found;
    }, 120_000),
    ended.then(({ stderr }): never => assert.fail(stderr)),
  ]);
  const authorization = `Basic ${Buffer.from(`me:${password}`).toString('base64')}`;
  const open = await fetch(page!, { headers: { authorization } });
  assert.deepEqual([open.status, (await fetch(page!)).status], [200, 401]);
  assert.match(await open.text(), /notification/);
  child.kill('SIGINT');
  const { code, stdout, stderr } = await ended;
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '\nSIGINT: stopping\n' });
  for (const name of ['sunset.jpg', 'clip.mp4', 'sms', 'push', 'notifications'])
    assert.match(stdout, new RegExp(`^job \\d+ {2}${name} {2}completed`, 'm'));
  assert.match(stdout, /email {2}failed \(missing_variable\)[^]*UPDATE notification_jobs[^]*email {2}completed/);
  const [, written] = /^ {2}(\.data\/outbox\/push\/\S+)$/m.exec(stdout)!;
  assert.match(await readFile(join(dir, written!), 'utf8'), /are you there/);
  assert.doesNotMatch(stdout, /should\.$/m);
});

test(
  'the demo of RabbitMQ makes jobs of messages, and corrects the one that cannot be a job',
  {
    skip: noRabbitmq,
  },
  async () => {
    const env = { ...elsewhere, RABBITMQ_URL: rabbitmqUrl };
    const { code, stdout, stderr } = await rowmillStarted(['demo', 'rabbitmq'], { cwd: dir, env }).ended;
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    assert.match(stdout, /^5 completed, 1 failed$/m);
    assert.match(stdout, /notification\.fax, failed, as it should:\n {2}error_code {2}unknown_kind\n/);
    assert.match(stdout, /^ {2}notification\.email, the same messageId again/m);
    assert.match(stdout, /not_json[^]*UPDATE rejected_messages$[^]* {2}notification\.email {2}completed/m);
    assert.doesNotMatch(stdout, /should\.$/);
    const [, queue] = /a queue, (\S+), at RabbitMQ/.exec(stdout)!;
    const connection = await amqplib.connect(rabbitmqUrl);
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    await assert.rejects(channel.checkQueue(queue!), /NOT_FOUND/);
    await connection.close();
  },
);

test('without a RabbitMQ its demo says how to start one', async () => {
  const env = { ...elsewhere, RABBITMQ_URL: 'amqp://me:canary@127.0.0.1:1' };
  const { code, stdout, stderr } = await runRowmill(['demo', 'rabbitmq'], { cwd: dir, env });
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
  assert.match(
    stderr,
    /^error: No RabbitMQ can be used at 127\.0\.0\.1:1: .*ECONNREFUSED[^]*docker run[^]*RABBITMQ_URL=/,
  );
  assert.doesNotMatch(stderr, /canary/);
});

test('without DATABASE_URL a command uses the embedded Postgres that runs, or starts it for itself', async (t) => {
  const dataDir = join(dir, '.data');
  const started = await runRowmill(['jobs', '--json', '--limit', '1'], { cwd: dir });
  assert.equal(JSON.parse(started.stdout).jobs.length, 1);
  assert.equal(await runningEmbeddedUrl(dataDir), undefined);

  const postgres = await openEmbeddedPostgres(dataDir);
  t.after(postgres.stop);
  const shared = await runRowmill(['jobs', '--json', '--limit', '1'], { cwd: dir });
  assert.equal(shared.stdout, started.stdout);
  assert.equal(await runningEmbeddedUrl(dataDir), postgres.url);
});

test('the demo leaves the jobs of others alone', async (t) => {
  const postgres = await openEmbeddedPostgres(join(dir, '.data'));
  const client = createClient(postgres.url);
  await client.connect();
  t.after(async () => {
    await client.query(`delete from publish_jobs where status = 'pending'`);
    await client.end();
    await postgres.stop();
  });
  await client.query(`insert into publish_jobs (run_at) values (now() + interval '1 hour')`);
  const { code, stderr } = await rowmillStarted(['demo'], { cwd: dir }).ended;
  assert.equal(code, 1);
  assert.match(stderr, /^error: Jobs that are not the demo's wait in queue publish/);
});

test('a worker says how to get to its Postgres, and prints no password', async () => {
  const { child, ended } = rowmillStarted(['start'], { cwd: dir, env: { PORT: '0' } });
  let seen = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (seen += chunk.toString()));
  await eventually(() => assert.match(seen, /"listening"/), 30_000);
  child.kill('SIGTERM');
  const { code, stderr } = await ended;
  assert.deepEqual(
    { code, stderr },
    { code: 0, stderr: 'Embedded Postgres for development: psql "$(cat .data/postgres.url)"\n' },
  );
  const url = new URL(await readFile(join(dir, '.data', 'postgres.url'), 'utf8'));
  assert.ok(url.password && !seen.includes(url.password));
});

for (const args of [Array<string>(20).fill('mine.webp'), ['notifications']])
  test(`Ctrl-C in the middle of ${args[0]} leaves nothing running, and no job that nobody could do`, async () => {
    const { child, ended } = rowmillStarted(['demo', ...args], { cwd: dir });
    let seen = '';
    child.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString()));
    await eventually(() => assert.match(seen, /processing/), 30_000);
    child.kill('SIGINT');
    const { code, stderr } = await ended;
    assert.equal(code, 130);
    assert.match(stderr, /SIGINT: stopping/);
    assert.equal(await runningEmbeddedUrl(join(dir, '.data')), undefined);
    await sleep(100);
    const { stdout } = await runRowmill(['jobs', '--json', '--status', 'pending'], { cwd: dir });
    assert.deepEqual(JSON.parse(stdout).jobs, []);
  });
