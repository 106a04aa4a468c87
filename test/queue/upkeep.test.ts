import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { bind, loadStatements } from '../../worker/base/sql.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { rowsRead, type PlanNode } from '../support/plans.ts';

// What the statements of upkeep read, where the statistics still say that the tables are empty, as between a prune and the next vacuum.

const statements = loadStatements(join(import.meta.dirname, '../../worker/queue'), 'upkeep.sql');
const leaves = { live: 'media_jobs_live', done: 'media_jobs_done', jobs: 'media_jobs' };
const jobs = 3_000;

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
  for (const leaf of [leaves.live, leaves.done]) await db.query(`alter table ${leaf} set (autovacuum_enabled = off)`);
  await fill();
  await db.query('delete from media_jobs');
  await db.query('vacuum (analyze, truncate false) media_jobs_live, media_jobs_done, job_keys, job_errors');
  await fill();
});
after(() => db.drop());

const fill = () =>
  db.query(
    `insert into media_jobs (kind, status, completed_at, archived, dedupe_key)
     select 'x', 'completed', now() - interval '91 days', n % 2 = 0, 'key ' || n from generate_series(1, $1::int * 2) n`,
    [jobs],
  );

for (const name of ['archive_jobs', 'prune_jobs'])
  test(`${name} reads each row a few times at most`, async () => {
    const text = bind(statements[name]!, leaves).text.replaceAll('$1', `'media'`);
    const { rows } = await db.query(`explain (analyze, format json) ${text}`);
    const { Plan: plan } = rows[0]['QUERY PLAN'][0] as { Plan: PlanNode };
    assert.ok(rowsRead(plan) > jobs, 'it found something to do');
    assert.ok(rowsRead(plan) < jobs * 20, `it read ${rowsRead(plan)} rows`);
  });

test('a chunk of jobs was pruned, and their keys with them', async () => {
  const { rows } = await db.query(
    `select (select count(*)::int from media_jobs) as jobs, (select count(*)::int from job_keys) as keys`,
  );
  assert.deepEqual(rows, [{ jobs: jobs * 2 - 5_000, keys: jobs * 2 - 5_000 }]);
});
