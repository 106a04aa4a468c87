import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { fleetStatus, listJobs } from '../../worker/queue/client/operate.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

// What people write on rows that no worker runs, where it once went astray. states.test.ts goes through them at random.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());
beforeEach(() => db.query('delete from jobs; delete from job_keys'));

const sql = async (text: string) => (await db.query<Record<string, any>>(text)).rows;
const inserted = async (text: string) => (await db.query(text)).rowCount;

test('an insert that is skipped for its id leaves no key behind that would keep out a job', async () => {
  await sql(`insert into jobs (id, queue, kind) values (1000000, 'media', 'x')`);
  const again = `insert into jobs (id, queue, kind, dedupe_key) values (1000000, 'media', 'x', 'a')
                 on conflict do nothing`;
  assert.equal(await inserted(again), 0);
  const keyed = `insert into jobs (queue, kind, dedupe_key) values ('media', 'x', 'a')`;
  assert.equal(await inserted(keyed), 1);
  assert.equal(await inserted(keyed), 0);
});

test('a job that is deleted from its leaf keeps out no other with its key', async () => {
  const keyed = `insert into media_jobs (kind, dedupe_key) values ('x', 'a')`;
  assert.equal(await inserted(keyed), 1);
  await sql('delete from media_jobs_live');
  assert.equal(await inserted(`${keyed}, ('x', 'a')`), 1);
});

test('a job that is written into the archive holds its key', async () => {
  await sql(
    `insert into jobs (queue, kind, status, archived, dedupe_key) values ('media', 'x', 'completed', true, 'a')`,
  );
  assert.equal(await inserted(`insert into jobs (queue, kind, dedupe_key) values ('media', 'x', 'a')`), 0);
});

test('a token bucket is never infinitely empty, nor of no time', async () => {
  for (const values of [`'-infinity', now()`, `'nan', now()`, `0, '-infinity'`, `0, 'infinity'`])
    await assert.rejects(db.query(`insert into rate_limits (key, tokens, updated_at) values ('x', ${values})`), {
      code: '23514',
    });
});

test('a pending job is inserted without a result', async () => {
  const [row] = await sql(`insert into media_jobs (kind, result, progress) values ('x', '{}', 50) returning *`);
  assert.deepEqual({ result: row!['result'], progress: row!['progress'] }, { result: null, progress: null });
});

test('jobs of two queues that were given one id are told apart', async () => {
  await sql(`insert into jobs (id, queue, kind, status, max_retries, retry_count)
             values (1000000, 'media', 'x', 'failed', 5, 3), (1000000, 'social', 'x', 'failed', 1, 1)`);
  await sql(`update jobs set error = 'seen' where id = 1000000`);
  assert.deepEqual(await sql('select distinct status from jobs'), [{ status: 'failed' }]);
});

test('a dead letter that is given more retries and another time runs at that time', async () => {
  await sql(
    `insert into media_jobs (kind, status, max_retries, retry_count)
     values ('x', 'failed', 3, 3), ('y', 'failed', 3, 3)`,
  );
  await sql(
    `update media_jobs set max_retries = 5, run_at = case kind when 'x' then now() + interval '1 hour' else run_at end`,
  );
  assert.deepEqual(await sql(`select kind, status, run_at > now() as later from media_jobs order by kind`), [
    { kind: 'x', status: 'pending', later: true },
    { kind: 'y', status: 'pending', later: false },
  ]);
});

test('jobs that were due since ever, or never will be, are listed like others', async () => {
  await sql(`insert into media_jobs (kind, run_at) values ('x', '-infinity'), ('y', 'infinity')`);
  const [never, ever] = await listJobs(db, { queue: 'media', limit: 10 });
  assert.ok(ever!.run_at.getTime() < Date.now() && never!.run_at.getTime() > Date.now());
  const { queues } = await fleetStatus(db);
  const media = queues.find(({ queue }) => queue === 'media')!;
  assert.deepEqual([media.waiting, media.delayed], [1, 1]);
  assert.ok(media.oldest_waiting_s! < 60);
});

for (const [queue, files] of [
  ['publish', 'auction_files'],
  ['media', 'media'],
])
  test(`a bulk insert of ${queue} jobs reads a few rows for each, also if the statistics say 0 rows`, async () => {
    await db.query(`insert into ${queue}_jobs (kind) select 'x' from generate_series(1, 2000)`);
    await db.query(`delete from ${queue}_jobs`);
    await db.query(`analyze ${queue}_jobs_live, ${queue}_jobs_done`);
    const tx = await db.connect();
    await tx.query('begin');
    await tx.query(`insert into ${files} (id) select gen_random_uuid() from generate_series(1, 2000)`);
    await tx.query(`insert into ${queue}_jobs (kind, file_id) select 'x', id from ${files}`);
    const { rows } = await tx.query<{ read: number }>(
      `select sum(seq_tup_read + idx_tup_fetch)::int as read from pg_stat_xact_user_tables
       where relname like '${queue}_jobs_%'`,
    );
    await tx.query('rollback');
    tx.release();
    assert.ok(rows[0]!.read < 2_000 * 20, `${rows[0]!.read} rows were read`);
  });
