import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPool } from '../../worker/base/db/db.ts';
import { Ledger } from '../../worker/queue/run/ledger.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { add } from '../support/jobs.ts';
import { silent } from '../support/log.ts';

// auction_files.publish_status follows the rows of publish_jobs, and media.status those of media_jobs, whoever changes
// them: here nobody but SQL does.

let db: TestDatabase;
let file_id: string;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());
beforeEach(async () => {
  file_id = (await db.query(`insert into auction_files (source_key) values ('k') returning id`)).rows[0].id;
});

const status = async () =>
  (await db.query(`select publish_status from auction_files where id = $1`, [file_id])).rows[0]
    .publish_status as string;
const set = (id: number, to: string) => db.query(`update publish_jobs set status = $2 where id = $1`, [id, to]);

test('a file that somebody holds locked keeps no other job from its start', async () => {
  const locked = await add(db, 'publish', 'file', { file_id });
  const other = await add(db, 'publish', 'file');
  const pool = createPool(db.url, { max: 3, log: silent, setUp: 'set lock_timeout = 100' });
  const worker = '00000000-0000-4000-8000-00000000000b';
  const ledger = new Ledger({
    db: pool,
    claims: pool,
    schema: 'public',
    path: 'public',
    queue: 'publish',
    worker: () => worker,
    signal: new AbortController().signal,
  });
  const start = async () => (await ledger.start([locked, other])).map(({ id }) => id);
  const holder = await db.connect();
  try {
    // Such as a role does that may add jobs and no more.
    await holder.query('begin');
    await holder.query(`insert into publish_jobs (file_id) values ($1)`, [file_id]);
    assert.deepEqual(await start(), [other]);
    await holder.query('rollback');
    assert.deepEqual(await start(), [locked]);
  } finally {
    holder.release(true);
    await pool.end();
  }
});

test('a file with one job has its status', async () => {
  const id = await add(db, 'publish', 'file', { file_id });
  for (const [to, expected] of Object.entries({ processing: 'processing', completed: 'published', failed: 'failed' })) {
    await set(id, to);
    assert.equal(await status(), expected);
  }
});

test('of several jobs the latest that was not cancelled counts', async () => {
  const first = await add(db, 'publish', 'file', { file_id });
  await set(first, 'processing');
  const second = await add(db, 'publish', 'file', { file_id });
  assert.equal(await status(), 'pending');
  await set(second, 'cancelled');
  assert.equal(await status(), 'processing');
  await set(first, 'failed');
  assert.equal(await status(), 'failed');
});

test('a job that is deleted counts no more, and one that is archived still does', async () => {
  const first = await add(db, 'publish', 'file', { file_id });
  await set(first, 'completed');
  const second = await add(db, 'publish', 'file', { file_id });
  await db.query(`update publish_jobs set archived = true where id = $1`, [first]);
  assert.equal(await status(), 'pending');
  await db.query(`delete from publish_jobs where id = $1`, [second]);
  assert.equal(await status(), 'published');
});

test('a file that was published stays so when its only new job is cancelled', async () => {
  await db.query(`update auction_files set published_at = now(), publish_status = 'published' where id = $1`, [
    file_id,
  ]);
  const id = await add(db, 'publish', 'file', { file_id });
  assert.equal(await status(), 'pending');
  await set(id, 'cancelled');
  assert.equal(await status(), 'published');
});

for (const [queue, files, column, words] of [
  ['publish', 'auction_files', 'publish_status', ['pending', 'failed', 'published', 'pending']],
  ['media', 'media', 'status', ['FAILED', 'FAILED', 'READY', 'PENDING']],
] as const) {
  const addFile = async () =>
    (await db.query<{ id: string }>(`insert into ${files} default values returning id`)).rows[0]!.id;
  const reads = async (id: string) =>
    (await db.query(`select ${column} from ${files} where id = $1`, [id])).rows[0][column];

  test(`a ${queue} job that is given another file counts for that one`, async () => {
    const [first, second] = [await addFile(), await addFile()];
    const id = await add(db, queue, 'x', { file_id: first });
    await db.query(`update jobs set status = 'failed' where id = $1`, [id]);
    await db.query(`update jobs set file_id = $2 where id = $1`, [id, second]);
    assert.deepEqual([await reads(first), await reads(second)], words.slice(0, 2));
  });

  test(`a file follows its ${queue} jobs when two of them change at once`, async () => {
    const file = await addFile();
    const older = await add(db, queue, 'x', { file_id: file, status: 'processing' });
    const newer = await add(db, queue, 'x', { file_id: file });
    const [one, two] = [await db.connect(), await db.connect()];
    await one.query('begin');
    await one.query(`update ${queue}_jobs set status = 'cancelled' where id = $1`, [newer]);
    const done = two.query(`update ${queue}_jobs set status = 'completed' where id = $1`, [older]);
    await sleep(200);
    await one.query('commit');
    await done;
    for (const client of [one, two]) client.release();
    assert.equal(await reads(file), words[2]);
  });

  test(`a file is left by its ${queue} job when all are truncated`, async () => {
    const file = await addFile();
    await add(db, queue, 'x', { file_id: file, status: 'processing' });
    await db.query(`truncate ${queue}_jobs`);
    assert.equal(await reads(file), words[3]);
  });
}
