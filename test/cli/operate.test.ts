import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { userInfo } from 'node:os';
import { after, before, test } from 'node:test';
import { transaction } from '../../worker/base/db/db.ts';
import { archive } from '../../worker/queue/fleet/upkeep.ts';
import { runRowmill } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { add, reads, rows } from '../support/jobs.ts';

// What people do to jobs and queues by command, where no worker interferes.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

const run = (...args: string[]) => runRowmill(args, { env: { DATABASE_URL: db.url } });

/** The one JSON document on stdout. */
async function json(...args: string[]) {
  const { stdout, ...rest } = await run(...args, '--json');
  return { ...rest, document: JSON.parse(stdout) };
}

test('add prints the id of a row that has what was asked for', async () => {
  const { rows: files } = await db.query<{ id: string }>(
    `insert into auction_files (source_key) values ('a') returning id`,
  );
  const file_id = files[0]!.id;
  const options = ['--priority', '-5', '--max-retries', '9', '--dedupe-key', 'k1', '--file-id', file_id];
  const due = '2030-01-02T03:04:05Z';
  const { code, stdout, stderr } = await run('add', 'publish.file', ...options, '--run-at', due);
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  assert.match(stdout, /^\d+\n$/);
  const asked = { queue: 'publish', kind: 'file', priority: -5, max_retries: 9, dedupe_key: 'k1', file_id };
  const row = await reads(db, Number(stdout), { ...asked, status: 'pending', payload: {} });
  assert.deepEqual(row['run_at'], new Date(due));
});

test('add without options is due now, with the retries of its queue', async () => {
  const { document } = await json('add', 'publish.file');
  assert.equal(document.created, true);
  const row = await reads(db, document.id, { payload: {}, priority: 0, max_retries: 5, dedupe_key: null });
  assert.deepEqual(row['run_at'], row['created_at']);
});

test('--run-at +5m is five minutes from now by the clock of the database', async () => {
  const { document } = await json('add', 'publish.file', '--run-at', '+5m');
  const [row] = await rows(db, [document.id]);
  assert.equal(row!['run_at'].getTime() - row!['created_at'].getTime(), 300_000);
});

test('a dedupe key that is taken adds nothing, and gives the job that has it', async () => {
  const first = await run('add', 'publish.file', '--dedupe-key', 'once');
  const second = await run('add', 'publish.file', '--dedupe-key', 'once');
  assert.deepEqual({ code: second.code, stdout: second.stdout }, { code: 0, stdout: first.stdout });
  assert.match(second.stderr, /^Nothing was added: job \d+ has the dedupe key once\n$/);
  const { document } = await json('add', 'publish.file', '--dedupe-key', 'once');
  assert.deepEqual(document, { id: Number(first.stdout), created: false });
});

test('add refuses what no handler could do, and names what is wrong', async () => {
  const refused = async (said: RegExp, ...args: string[]) => {
    const { code, stdout, stderr } = await run('add', ...args);
    assert.deepEqual({ code, stdout }, { code: 2, stdout: '' });
    assert.match(stderr, said);
  };
  await refused(/^error: There is no queue nope: there are .*\bcleanup\b/, 'nope.file');
  await refused(/^error: No handler is named publish\.nope; the kinds there are: .*publish\.file/, 'publish.nope');
  await refused(/^error: payload: /, 'publish.file', '[1]');
  await refused(/^error: file_id: there is no such file/, 'publish.file', '--file-id', randomUUID());
  await refused(/^error: payload: .*Unicode/, 'media.image', String.raw`{"s3Key": "\u0000"}`);
  await refused(/^error: media\.image knows no key "s3key" \(is it s3Key\?\)$/m, 'media.image', '{"s3key": "ü"}');
  await refused(/^error: No handler is named media\.imgae: is it media\.image\?/, 'media.imgae');
  await refused(/^error: No handler .*: is it media\.image\?/, 'publish.image');
});

test('jobs lists the newest first, filtered', async () => {
  const failed = await add(db, 'social', 'x', { status: 'failed', error_code: 'raid_not_found', error: 'gone' });
  const pending = await add(db, 'social', 'y', { run_at: new Date(Date.now() + 3_600_000) });
  const ids = async (...args: string[]) =>
    (await json('jobs', ...args)).document.jobs.map(({ id }: { id: number }) => id);
  assert.deepEqual(await ids('--queue', 'social'), [pending, failed]);
  assert.deepEqual(await ids('--queue', 'social', '--status', 'failed'), [failed]);
  assert.deepEqual(await ids('--kind', 'y'), [pending]);
  assert.deepEqual(await ids('--kind', 'social.y'), [pending]);
  assert.deepEqual(await ids('--queue', 'social', '--kind', 'social.y'), [pending]);
  assert.equal((await run('jobs', '--queue', 'media', '--kind', 'social.y')).code, 2);
  assert.deepEqual(await ids('--error-code', 'raid_not_found'), [failed]);
  assert.deepEqual(await ids('--limit', '1'), [pending]);

  const { stdout } = await run('jobs', '--queue', 'social');
  const [head, first, second] = stdout.split('\n');
  assert.match(head!, /^\s*ID  JOB {7}STATUS/);
  assert.match(first!, new RegExp(`^\\s*${pending}  social\\.y  pending .* due in 59 min`));
  assert.match(second!, /failed .* raid_not_found: gone$/);
  assert.equal((await run('jobs', '--queue', 'nope')).code, 2);
  assert.deepEqual(await run('jobs', '--kind', 'nothing'), { code: 0, stdout: '', stderr: 'No jobs\n' });
});

test('what a job says can neither move the cursor nor break a line', async () => {
  const id = await add(db, 'social', 'x', {
    status: 'failed',
    error_code: 'x',
    error: 'one\ntwo \u001b[2Jthree\u202e',
  });
  for (const args of [
    ['jobs', '--limit', '1'],
    ['show', String(id)],
  ]) {
    const { stdout } = await run(...args);
    assert.match(stdout, /one two \ufffd\[2Jthree\ufffd/);
  }
});

test('show gives all of a job and the failures of its attempts', async () => {
  const id = await add(db, 'social', 'x', {
    payload: { a: 1 },
    status: 'failed',
    error_code: 'late',
    error: 'too late',
  });
  await db.query(
    `insert into job_errors (queue, job_id, attempt, error_code, error, stack)
     values ('social', $1, 2, 'late', 'too late', e'at run (a.ts:1:2)\\nat b.ts:3:4'),
       ('social', $1, 1, 'early', 'too early', null)`,
    [id],
  );
  const { code, document } = await json('show', String(id));
  assert.equal(code, 0);
  assert.deepEqual(document.payload, { a: 1 });
  assert.deepEqual(
    document.errors.map(({ error_code }: { error_code: string }) => error_code),
    ['early', 'late'],
  );
  const { stdout } = await run('show', String(id));
  assert.match(stdout, /^status {8}failed$/m);
  assert.match(stdout, /^payload {7}\{"a":1\}$/m);
  assert.match(stdout, /^ {6}1 .* early: too early\n {6}2 .* late: too late\n\nat run \(a\.ts:1:2\)\nat b\.ts:3:4\n$/m);

  assert.deepEqual(await run('show', '987654'), { code: 1, stdout: '', stderr: 'error: There is no job 987654\n' });
});

test('show says what to do about an error, where the catalogue knows it', async () => {
  const id = await add(db, 'social', 'x', { status: 'failed', error_code: 'raid_timeout', error: 'RAID was slow' });
  const { document } = await json('show', String(id));
  assert.match(document.cause, /RAID/);
  assert.match((await run('show', String(id))).stdout, /^solution {6}Raise RAID_TIMEOUT /m);
});

test('retry runs jobs again with all their retries, archived ones too, and says which it could not', async () => {
  const failed = await add(db, 'media', 'x', { status: 'failed', retry_count: 3 });
  const archived = await add(db, 'media', 'x', { status: 'completed', completed_at: new Date(Date.now() - 60_000) });
  await transaction(db, (tx) => archive(tx, 'media'));
  await reads(db, archived, { archived: true });
  const running = await add(db, 'media', 'x', { status: 'processing' });

  const { code, stderr, document } = await json('retry', ...[failed, archived, running, 999_999].map(String));
  assert.equal(code, 1);
  assert.deepEqual(document, {
    retried: [
      { id: failed, queue: 'media', kind: 'x', was: 'failed' },
      { id: archived, queue: 'media', kind: 'x', was: 'completed' },
    ],
    refused: [{ id: running, queue: 'media', kind: 'x', was: 'processing' }],
    missing: [999_999],
  });
  assert.equal(stderr, `error: Job ${running} is processing: cancel it first; There is no job 999999\n`);
  await reads(db, failed, { status: 'pending', retry_count: 0, completed_at: null });
  await reads(db, archived, { status: 'pending', archived: false });
  await reads(db, running, { status: 'processing' });

  const { rows: tickets } = await db.query<{ ids: number[] }>(
    `select array(select json_array_elements_text(payload -> 'ids')::int) as ids from rowmill_tickets._private_jobs`,
  );
  for (const id of [failed, archived])
    assert.ok(
      tickets.some(({ ids }) => ids.includes(id)),
      `no ticket for job ${id}`,
    );
});

test('retry --failed takes all failed jobs of a queue, or of a kind or code in it', async () => {
  const failed = (kind: string, error_code: string) => add(db, 'analytics', kind, { status: 'failed', error_code });
  const [a, b, c] = [await failed('x', 'one'), await failed('x', 'two'), await failed('y', 'two')];
  assert.equal((await run('retry', '--failed', '--queue', 'nope')).code, 2);

  const byCode = await json('retry', '--failed', '--kind', 'analytics.x', '--error-code', 'two');
  assert.deepEqual(byCode.document, { retried: [{ id: b, queue: 'analytics', kind: 'x', was: 'failed' }] });
  const { code, stdout } = await run('retry', '--failed', '--queue', 'analytics');
  assert.deepEqual({ code, stdout }, { code: 0, stdout: 'retried 2 failed jobs of queue analytics\n' });
  for (const id of [a, b, c]) await reads(db, id, { status: 'pending', retry_count: 0 });
});

test('jobs --sql prints a search as SQL', async () => {
  const { code, stdout } = await run('jobs', 'queue:media', "text:it's", '--sql', '--limit', '5');
  assert.equal(code, 0);
  assert.match(stdout, /where queue in \('media'\)\n {3}and .*ilike '%it''s%'[^]*limit 5;$/m);
  await db.query(stdout);
});

test('cancel ends what has not ended', async () => {
  const pending = await add(db, 'cleanup', 'x');
  const done = await add(db, 'cleanup', 'x', { status: 'completed' });
  const { code, stdout, stderr } = await run('cancel', String(pending), String(done), '999999');
  assert.equal(code, 1);
  assert.equal(stdout, `cancelled job ${pending}, cleanup.x, which was pending\n`);
  assert.equal(stderr, `error: Job ${done} is completed: it has ended; There is no job 999999\n`);
  const row = await reads(db, pending, { status: 'cancelled' });
  assert.ok(row['completed_at']);
  await reads(db, done, { status: 'completed' });
});

test('reschedule and priority move pending jobs only; again adds a copy, with its payload or another', async () => {
  const pending = await add(db, 'cleanup', 'sessions', { payload: { dryRun: true }, file_id: 'f' });
  const done = await add(db, 'cleanup', 'sessions', { status: 'completed' });
  const [p, d] = [String(pending), String(done)];
  const moved = await json('reschedule', '2099-01-01T00:00:00Z', p, d);
  assert.deepEqual([moved.code, moved.document.rescheduled[0].id, moved.document.refused[0].id], [1, pending, done]);
  const soon = await run('reschedule', '+1h', p);
  assert.equal(soon.stdout, `rescheduled job ${p}, cleanup.sessions, which was pending\n`);
  assert.equal((await run('priority', '-5', p)).code, 0);
  const row = await reads(db, pending, { priority: -5 });
  assert.ok(Math.abs(row['run_at'].getTime() - Date.now() - 3_600_000) < 600_000);

  const { stdout } = await run('again', p);
  await reads(db, Number(stdout), { priority: -5, payload: { dryRun: true }, file_id: 'f' });
  const other = await json('again', d, '{"dryRun": false}');
  await reads(db, other.document.id, { payload: { dryRun: false } });
  assert.equal((await run('again', d, '{"no such key": 1}')).code, 2);
  assert.equal((await run('again', '999999')).code, 2);
});

test('pause and resume change the row of the queue', async () => {
  const paused = async () => (await db.query(`select paused from queues where name = 'notification'`)).rows[0].paused;
  const first = await run('pause', 'notification');
  assert.deepEqual(first, { code: 0, stdout: 'queue notification is paused: 0 jobs wait, 0 running\n', stderr: '' });
  assert.equal(await paused(), true);
  const { rows: queues } = await db.query(`select paused_by from queues where name = 'notification'`);
  assert.equal(queues[0].paused_by, userInfo().username);
  const { document } = await json('resume', 'notification');
  assert.deepEqual(document, { queue: 'notification', paused: false, waiting: 0, active: 0 });
  assert.equal(await paused(), false);
  const { code, stderr } = await run('pause', 'nope');
  assert.equal(code, 2);
  assert.match(stderr, /^error: There is no queue nope: there are /);
});

test('status counts, names the workers, and says what needs attention', async (t) => {
  const own = await createDatabase();
  t.after(() => own.drop());
  await add(own, 'media', 'x', { run_at: new Date(Date.now() - 600_000) });
  await add(own, 'media', 'x', { status: 'completed' });
  await add(own, 'social', 'x', { status: 'failed', error_code: 'no_luck' });
  await add(own, 'social', 'x', { status: 'failed', error_code: 'raid_timeout' });
  await own.query(`update queues set paused = true where name = 'cleanup'`);
  await own.query(
    `insert into workers (id, host, pid, version, queues, heartbeat_at)
     values ('00000000-0000-0000-0000-00000000000a', 'there', 7, '1', '{media}', now() - interval '20 s'),
            ('00000000-0000-0000-0000-00000000000b', 'here',  8, '1', '{media}', now())`,
  );
  await own.query(
    `insert into schedules (name, cron, queue, kind, error, enabled)
     values ('wrong', '61 * * * *', 'media', 'x', 'no such minute', true),
       ('off', '61 * * * *', 'media', 'x', 'no such minute', false)`,
  );
  await own.query(
    `insert into incidents (dependency, host, code, message, kinds, since)
     values ('storage', null, 'storage_full', 'storage cap exceeded', '{media.x}', now() - interval '20 minutes'),
            ('temp_space', 'there', 'disk_full', 'full', '{social.x}', now()),
            ('raid', null, 'raid_unauthorized', 'x', '{media.x}', now())`,
  );
  await own.query(`update incidents set resolved_at = now() where dependency = 'raid'`);
  await own.query(`insert into job_rollups (minutes, at, queue, kind, completed)
                   values (1, date_trunc('minute', now()), 'media', 'x', 1), (15, now(), 'media', 'x', 9)`);
  const client = await own.connect();
  await client.query(`select pg_advisory_lock(hashtextextended('00000000-0000-0000-0000-00000000000b', 0))`);

  const env = { DATABASE_URL: own.url };
  const { code, stdout, stderr } = await runRowmill(['status', '--json'], { env });
  const text = await runRowmill(['status'], { env });
  client.release(true);
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });

  const { queues, workers, dead_letters, attention } = JSON.parse(stdout);
  const media = queues.find(({ queue }: { queue: string }) => queue === 'media');
  assert.ok(media.oldest_waiting_s >= 600 && media.oldest_waiting_s < 700);
  assert.deepEqual([media.waiting, media.completed, media.completed_lately], [1, 1, 1]);
  assert.deepEqual(
    workers.map(({ pid, alive }: { pid: number; alive: boolean }) => [pid, alive]),
    [
      [8, true],
      [7, false],
    ],
  );
  assert.deepEqual(
    dead_letters.map(({ queue, error_code, jobs }: Record<string, unknown>) => [queue, error_code, jobs]),
    [
      ['social', 'no_luck', 1],
      ['social', 'raid_timeout', 1],
    ],
  );
  assert.deepEqual(
    attention.map(({ name }: { name: string }) => name),
    ['incidents', 'incidents', 'workers', 'paused', 'waiting', 'schedules', 'dead_letters', 'dead_letters'],
  );
  const incident =
    /^incident for 20 min: storage, storage_full; 1 job of media\.x wait: storage cap exceeded\n {2}Raise/;
  assert.match(text.stdout, incident);
  assert.match(text.stdout, /\n\nincident for .*: temp_space of there, disk_full; 0 jobs of social\.x wait: full\n/);
  assert.match(text.stdout, /^media +1 +0 +0 +0 +1 +0\.2 +10 min$/m);
  assert.match(text.stdout, /^ {4}rowmill resume cleanup$/m);
  assert.match(text.stdout, /^ {2}schedule wrong adds nothing: no such minute\n {4}rowmill schedule set wrong /m);
  assert.match(
    text.stdout,
    /1 dead letter of social\.x, no_luck\n.* rowmill retry --failed --queue social --kind x --error-code no_luck/,
  );
  assert.match(
    text.stdout,
    /1 dead letter of social\.x, raid_timeout: RAID .*\n {4}Raise RAID_TIMEOUT .* To retry: rowmill retry /,
  );
});
