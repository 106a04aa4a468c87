import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runRowmill } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { add } from '../support/jobs.ts';

// Queues by command: added, listed, set.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

const run = (...args: string[]) => runRowmill(['queue', ...args], { env: { DATABASE_URL: db.url } });
const row = async (name: string) => (await db.query(`select * from queues where name = $1`, [name])).rows[0];

test('a queue is added, with its table and what is given of its settings; it takes jobs at once', async () => {
  const { code, stdout, stderr } = await run('add', 'thumbs', '--max-retries', '5', '--kind', 'make');
  assert.deepEqual(
    { code, stdout, stderr },
    {
      code: 0,
      stdout: 'added queue thumbs: its jobs are in thumbs_jobs\n',
      stderr: 'Workers serve it from their next start on\n',
    },
  );
  const { batch_size, max_retries, backoff_ms } = await row('thumbs');
  assert.deepEqual([batch_size, max_retries, backoff_ms], [1, 5, 5_000]);
  await db.query(`insert into thumbs_jobs default values`);
  const { rows } = await db.query(`select queue, kind, max_retries, status from thumbs_jobs`);
  assert.deepEqual(rows, [{ queue: 'thumbs', kind: 'make', max_retries: 5, status: 'pending' }]);
  const json = await run('add', 'thumbs2', '--batch-size', '10', '--json');
  assert.deepEqual(JSON.parse(json.stdout), { name: 'thumbs2' });
});

test('a name that is taken, or cannot be one, changes nothing', async () => {
  await db.query('create table clash_jobs ()');
  for (const [name, message] of [
    ['media', /^error: There is a queue media already\n$/],
    ['Thumbs', /^error: A queue cannot be named Thumbs: /],
    ['a'.repeat(51), /cannot be named/],
    ['clash', /^error: The queue clash cannot be made: relation "clash_jobs" already exists\n$/],
  ] as const) {
    const { code, stdout, stderr } = await run('add', name);
    assert.deepEqual({ code, stdout }, { code: 2, stdout: '' });
    assert.match(stderr, message);
  }
  assert.equal(await row('clash'), undefined);
});

test('while a transaction holds jobs, adding waits without holding up inserts', async () => {
  const holder = await db.connect();
  await holder.query('begin; select from jobs limit 1');
  const added = run('add', 'patient');
  await add(db, 'media', 'image');
  await holder.query('commit');
  holder.release();
  assert.equal((await added).code, 0);
});

test('set changes what is given, and says what a setting cannot be', async () => {
  const { code, stdout } = await run(
    'set',
    'media',
    '--rate-limit',
    '10',
    '--timeout-ms',
    '60000',
    '--keep-completed',
    '1 week',
  );
  assert.equal(code, 0);
  assert.match(stdout, /^QUEUE +PAUSED .*\nmedia +no +1 +3 +5000 +60000 +10 +7 days\n$/);
  const set = await row('media');
  assert.deepEqual([set.rate_limit, set.timeout_ms, set.snooze_limit.days], [10, 60_000, 7]);
  const json = await run('set', 'media', '--rate-limit', 'none', '--json');
  const { rate_limit, timeout_ms, keep_completed } = JSON.parse(json.stdout);
  assert.deepEqual([rate_limit, timeout_ms, keep_completed], [null, 60_000, '7 days']);

  for (const [args, message] of [
    [['media', '--keep-completed', 'long'], /^error: Queue media cannot be set so: .*"long"/],
    [['media', '--snooze-limit', '-1 day'], /snooze_limit/],
    [['media', '--rate-limit', '0'], /whole number from 1/],
    [['media'], /^error: Nothing to set: /],
    [['nowhere', '--rate-limit', '1'], /^error: There is no queue nowhere: there are /],
  ] as const) {
    const refused = await run('set', ...args);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, message);
  }
});

test('list shows all, a paused one too', async () => {
  await db.query(`update queues set paused = true where name = 'social'`);
  const { stdout } = await run('list');
  assert.match(stdout, /^social +yes +1 +5 +30000 +- +- +90 days$/m);
  const { queues } = JSON.parse((await run('list', '--json')).stdout);
  const { name, paused, archive_after } = queues.find((queue: { name: string }) => queue.name === 'social');
  assert.deepEqual([name, paused, archive_after], ['social', true, '00:00:30']);
});
