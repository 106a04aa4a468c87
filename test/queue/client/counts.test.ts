import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { queueCounts } from '../../../worker/queue/client/counts.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { addSomeJobs, rolledBack } from '../../support/sql-files.ts';

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

test('the counts are those of queue_depth, with the age of the oldest due job', () =>
  rolledBack(db, async (tx) => {
    await addSomeJobs(tx);
    await tx.query(`update media_jobs set run_at = now() - interval '1 hour' where status = 'pending' and attempt = 0
                                                                              and run_at <= now()`);
    await tx.query(`update queues set paused = true where name = 'media'`);
    const counts = await queueCounts(tx);
    const { rows: depth } = await tx.query('select * from queue_depth order by queue');
    for (const [n, row] of depth.entries()) assert.partialDeepStrictEqual(counts[n], { ...row });
    assert.equal(counts.length, depth.length);
    const media = counts.find(({ queue }) => queue === 'media')!;
    assert.ok(media.paused && media.oldest_due_s! >= 3_600 && media.age_s < 60);
    assert.equal(counts.find(({ queue }) => queue === 'social')!.oldest_due_s, null);
  }));

// A queue of its own in a database of its own: rows of 8 kB reach the 32 MB soon.
test('a large leaf is counted now and then by upkeep, and the counts say how old they are', async () => {
  await db.query(`
    insert into media_jobs (kind, status, result)
    select 'x', 'failed', to_jsonb((select string_agg(md5(n::text || i::text), '') from generate_series(1, 55) i))
      from generate_series(1, 9000) n`);
  const media = async () => (await queueCounts(db)).find(({ queue }) => queue === 'media')!;
  const counted = async () => (await db.query<{ queues: number }>('select count_large_queues() as queues')).rows[0]!;

  assert.equal((await media()).failed, 9_000, 'nobody has counted: it is counted now');
  assert.deepEqual(await counted(), { queues: 1 });
  assert.deepEqual(await counted(), { queues: 0 }, 'not again so soon');
  await db.query(`update queue_counted set counted_at = counted_at - interval '30 seconds'`);
  await db.query(`insert into media_jobs (kind) values ('x')`);
  const old = await media();
  assert.deepEqual([old.failed, old.waiting], [9_000, 0]);
  assert.ok(old.age_s >= 30, `${old.age_s}`);
  assert.deepEqual(await counted(), { queues: 1 });
  assert.deepEqual(await media().then(({ failed, waiting }) => [failed, waiting]), [9_000, 1]);

  await db.query(`update queue_counted set counted_at = counted_at - interval '10 minutes'`);
  await db.query(`insert into media_jobs (kind) values ('x')`);
  assert.equal((await media()).waiting, 2, 'a count that is too old is none');
  await db.query(`update queue_counted set counted_at = now(), took = '1 day'`);
  assert.equal((await media()).waiting, 1, 'a count that takes long may be older');

  const { rows } = await db.query(`explain (analyze, buffers, format json) select * from queue_counts()`);
  const pages = rows[0]['QUERY PLAN'][0].Plan;
  assert.ok(pages['Shared Hit Blocks'] + pages['Shared Read Blocks'] < 300, JSON.stringify(pages));
});
