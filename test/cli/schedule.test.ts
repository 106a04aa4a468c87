import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runRowmill } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { reads } from '../support/jobs.ts';

// Schedules by command, where no worker interferes.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
  // Those that every database has.
  await db.query('delete from schedules');
});
after(() => db.drop());

const run = (...args: string[]) => runRowmill(['schedule', ...args], { env: { DATABASE_URL: db.url } });

/** The one JSON document on stdout. */
async function json(...args: string[]) {
  const { stdout, ...rest } = await run(...args, '--json');
  return { ...rest, document: JSON.parse(stdout) };
}

async function row(name: string): Promise<Record<string, any> | undefined> {
  return (await db.query(`select * from schedules where name = $1`, [name])).rows[0];
}

test('without any, list says so', async () => {
  assert.deepEqual(await run('list'), { code: 0, stdout: '', stderr: 'No schedules\n' });
  assert.deepEqual((await json('list')).document, { schedules: [] });
});

test('set makes a schedule, says when it ticks next, and changes only what is given', async () => {
  const made = await run(
    'set',
    'nightly',
    '--cron',
    '30 3 * * *',
    '--kind',
    'media.audio',
    '--payload',
    '{"s3Key": "a"}',
  );
  assert.deepEqual({ code: made.code, stderr: made.stderr }, { code: 0, stderr: '' });
  assert.match(
    made.stdout,
    /^schedule nightly: media\.audio at 30 3 \* \* \* UTC, next \d{4}-\d\d-\d\dT03:30:00.000Z, in /,
  );
  const first = (await row('nightly'))!;
  assert.deepEqual(
    [first['time_zone'], first['queue'], first['kind'], first['payload'], first['overlap'], first['enabled']],
    ['UTC', 'media', 'audio', { s3Key: 'a' }, 'queue', true],
  );

  const options = ['--time-zone', 'Europe/Berlin', '--overlap', 'skip', '--priority', '-3', '--max-retries', '9'];
  const { code, document } = await json('set', 'nightly', ...options);
  assert.equal(code, 0);
  assert.match(document.next_tick, /T0[12]:30:00.000Z$/);
  const second = (await row('nightly'))!;
  const changes = { time_zone: 'Europe/Berlin', overlap: 'skip', priority: -3, max_retries: 9 };
  assert.deepEqual(second, { ...first, ...changes, since: second['since'] });
  assert.ok(second['since'] > first['since']);

  const disabled = await run('set', 'nightly', '--disabled');
  assert.match(disabled.stdout, /, disabled\n$/);
  assert.equal((await row('nightly'))!['enabled'], false);
});

test('set refuses what could never run, and names what is wrong', async () => {
  const set = ['--cron', '* * * * *', '--kind', 'publish.file'];
  const refusals: [string[], RegExp][] = [
    [['x'], /^error: There is no schedule x yet: a new one needs a cron expression and a kind\n$/],
    [['x', ...set, '--cron', '61 * * * *'], /^error: cron 61 \* \* \* \*: .* minute\n$/],
    [['x', ...set, '--cron', '0 0 30 2 *'], /^error: cron 0 0 30 2 \*: .*impossible day/],
    [['x', ...set, '--time-zone', 'Mars/Olympus'], /^error: time zone Mars\/Olympus: Invalid time zone/],
    [['x', ...set, '--kind', 'nope.file'], /^error: There is no queue nope: there are .*\bcleanup\b/],
    [
      ['x', ...set, '--kind', 'publish.nope'],
      /^error: No handler is named publish\.nope; the kinds there are: .*publish\.file/,
    ],
    [['x', ...set, '--payload', '[1]'], /^error: payload: /],
    [['x', ...set, '--payload', '{'], /^error: .* It must be JSON/],
    [['x', ...set, '--overlap', 'maybe'], /^error: .* Allowed choices are skip, queue/],
    [['a@b', ...set], /^error: .*schedules_name_check/],
  ];
  await Promise.all(
    refusals.map(async ([args, said]) => {
      const { code, stdout, stderr } = await run('set', ...args);
      assert.deepEqual({ code, stdout }, { code: 2, stdout: '' }, args.join(' '));
      assert.match(stderr, said);
    }),
  );
  assert.equal(await row('x'), undefined);
});

test('list shows each, with its last tick, its next, and what became of the last job', async () => {
  await run('set', 'often', '--cron', '*/5 * * * *', '--kind', 'publish.file');
  const id = Number((await run('run', 'often')).stdout);
  await db.query(`update jobs set status = 'failed', error_code = 'raid_not_found', error = 'gone' where id = $1`, [
    id,
  ]);
  await db.query(
    `update schedules set last_tick = now() - interval '2 minutes', next_tick = now() + interval '3 minutes 40 s',
     skipped = 4 where name = 'often'`,
  );
  await db.query(
    `insert into schedules (name, cron, queue, kind, error)
     values ('wrong', '61 * * * *', 'media', 'x', 'no such minute')`,
  );
  const { stdout } = await run('list');
  assert.deepEqual(stdout.split('\n'), [
    'SCHEDULE  CRON         LAST TICK  NEXT TICK',
    'nightly   30 3 * * *   -          disabled',
    '    adds media.audio, by the clocks of Europe/Berlin',
    'often     */5 * * * *  2 min ago  in 3 min',
    '    adds publish.file, 4 ticks skipped',
    `    job ${id} failed, raid_not_found: gone`,
    'wrong     61 * * * *   -          error',
    '    adds media.x',
    '    cannot tick: no such minute',
    '',
  ]);
  const { document } = await json('list');
  const often = document.schedules.find(({ name }: { name: string }) => name === 'often');
  assert.deepEqual([often.last_job_id, often.last_status, often.skipped, often.error], [id, 'failed', 4, null]);
  assert.deepEqual([often.payload, often.priority, often.max_retries], [{}, 0, null]);

  const result = JSON.stringify({ scanned: 3, bytes: 0, dryRun: false, cutoff: 'c', remaining: true });
  await db.query(`update jobs set status = 'completed', result = $2 where id = $1`, [id, result]);
  assert.match(
    (await run('list')).stdout,
    new RegExp(`^    job ${id} completed: cutoff c, scanned 3, remaining true$`, 'm'),
  );
});

test('the schedules that every database has are listed within 80 columns', async (t) => {
  const own = await createDatabase();
  t.after(() => own.drop());
  await own.query(
    `update schedules set last_tick = now() - interval '59 minutes', next_tick = now() + interval '59 minutes'`,
  );
  const { stdout } = await runRowmill(['schedule', 'list'], { env: { DATABASE_URL: own.url } });
  assert.match(stdout, /^cleanup\.soft_deleted_files .* 59 min ago /m);
  for (const line of stdout.split('\n')) assert.ok(line.length < 80, line);
});

test('run adds a job now, unless the last has not ended and overlap is skip', async () => {
  await run('set', 'now', '--cron', '@yearly', '--kind', 'publish.file', '--disabled', '--priority', '2');
  const { code, stdout } = await run('run', 'now');
  assert.equal(code, 0);
  const job = await reads(db, Number(stdout), { queue: 'publish', kind: 'file', priority: 2, status: 'pending' });
  assert.match(job['dedupe_key'], /^now@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  assert.equal((await json('run', 'now')).document.name, 'now');

  await run('set', 'now', '--overlap', 'skip');
  assert.deepEqual(await run('run', 'now'), {
    code: 1,
    stdout: '',
    stderr: 'error: The last job of schedule now has not ended, and its overlap is skip\n',
  });
});

test('enable, disable and delete do what they say, and tell of schedules that there are not', async () => {
  const id = Number((await run('run', 'nightly')).stdout);
  assert.deepEqual(await run('enable', 'nightly'), { code: 0, stdout: 'schedule nightly is enabled\n', stderr: '' });
  assert.equal((await row('nightly'))!['enabled'], true);
  assert.deepEqual((await json('disable', 'nightly')).document, { name: 'nightly', enabled: false });
  assert.deepEqual(await run('delete', 'nightly'), { code: 0, stdout: 'deleted schedule nightly\n', stderr: '' });
  assert.equal(await row('nightly'), undefined);
  await reads(db, id, { status: 'pending' });
  for (const command of ['enable', 'disable', 'run', 'delete']) {
    const { code, stderr } = await run(command, 'nightly');
    assert.equal(code, 2);
    assert.match(stderr, /^error: There is no schedule nightly: there are now, often, wrong\n$/);
  }
});

test('each command has help with an example; none at all is help, and exit code 2', async () => {
  for (const command of ['list', 'set', 'enable', 'disable', 'run', 'delete']) {
    const { code, stdout } = await run(command, '--help');
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`Example:\n  \\$ rowmill schedule ${command}`));
  }
  const { code, stderr } = await run();
  assert.equal(code, 2);
  assert.match(stderr, /^Usage: rowmill schedule/);
});
