import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { transaction } from '../../../worker/base/db/db.ts';
import { bind } from '../../../worker/base/db/sql.ts';
import { namesOf } from '../../../worker/base/db/names.ts';
import { keepUp, reconcile } from '../../../worker/queue/fleet/upkeep.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { silent } from '../../support/log.ts';
import { rowsRead, type PlanNode } from '../../support/plans.ts';
import { statementOf } from '../../support/statement.ts';

// What the statements of upkeep read, where the statistics still say that the tables are empty, as between a prune and
// the next vacuum.

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
     select 'x', 'completed', now() - interval '91 days', n % 2 = 0, 'key ' || n
       from generate_series(1, $1::int * 2) n`,
    [jobs],
  );

for (const name of ['archive_jobs', 'prune_jobs'])
  test(`${name} reads each row a few times at most`, async () => {
    const text = bind(statementOf('worker/queue/fleet/upkeep.sql', name), leaves).text.replaceAll('$1', `'media'`);
    const { rows } = await db.query(`explain (analyze, format json) ${text}`);
    const { Plan: plan } = rows[0]['QUERY PLAN'][0] as { Plan: PlanNode };
    assert.ok(rowsRead(plan) > jobs, 'it found something to do');
    assert.ok(rowsRead(plan) < jobs * 20, `it read ${rowsRead(plan)} rows`);
  });

test('a look at an archive of which nothing is due reads one row of it', async (t) => {
  const own = await createDatabase();
  t.after(() => own.drop());
  await own.query(
    `insert into media_jobs (kind, status, completed_at, archived)
     select 'x', 'completed', now() - random() * interval '10 days', true from generate_series(1, 20000)`,
  );
  await own.query('vacuum (analyze) media_jobs_done');
  const text = statementOf('worker/queue/fleet/upkeep.sql', 'upkeep_due').text.replaceAll('$1', `'{media,publish}'`);
  // As the planner decides where the archive is much larger than work_mem.
  const { rows } = await transaction(own, async (tx) => {
    await tx.query(`set local enable_bitmapscan = off`);
    return tx.query(`explain (analyze, format json) ${text}`);
  });
  const { Plan: plan } = rows[0]['QUERY PLAN'][0] as { Plan: PlanNode };
  assert.ok(rowsRead(plan) < 100, `it read ${rowsRead(plan)} rows`);
});

test('a table that somebody has locked holds up upkeep for no longer than it is locked', async (t) => {
  const own = await createDatabase();
  const stop = new AbortController();
  const holder = await own.connect();
  await holder.query('begin; lock table media_jobs_live');
  const keeping = keepUp(own, namesOf('public'), ['media', 'publish'], silent, stop.signal, 50);
  t.after(async () => {
    stop.abort();
    await keeping;
    await own.drop();
  });
  const finish = (queue: string) =>
    own.query(
      `insert into ${queue}_jobs (kind, status, completed_at) values ('x', 'completed', now() - interval '1 minute')
        returning id`,
    );
  const archived = (queue: string) =>
    eventually(async () => {
      const { rows } = await own.query(`select count(*)::int as jobs from ${queue}_jobs_done`);
      assert.deepEqual(rows, [{ jobs: 1 }]);
    });
  await sleep(2_000);
  await finish('publish');
  await archived('publish');
  await holder.query('rollback');
  holder.release();
  await finish('media');
  await archived('media');
});

test('while there is nothing to do, one statement asks for all queues, and less and less often', async (t) => {
  const own = await createDatabase();
  const stop = new AbortController();
  let transactions = 0;
  own.on('acquire', () => transactions++);
  const queues = ['publish', 'media', 'notification', 'social', 'analytics', 'cleanup'];
  const keeping = keepUp(own, namesOf('public'), queues, silent, stop.signal, 50);
  t.after(async () => {
    stop.abort();
    await keeping;
    await own.drop();
  });
  // The first run also asks what is to be repaired.
  await eventually(() => assert.ok(transactions > 2));
  await sleep(500);
  const earlier = transactions;
  await sleep(4_000);
  // Every 200 ms, which is four times the usual pause.
  assert.ok(transactions - earlier < 22, `${transactions - earlier} transactions in four seconds`);
});

test('a chunk of jobs was pruned, and their keys with them', async () => {
  const { rows } = await db.query(
    `select (select count(*)::int from media_jobs) as jobs, (select count(*)::int from job_keys) as keys`,
  );
  assert.deepEqual(rows, [{ jobs: jobs * 2 - 5_000, keys: jobs * 2 - 5_000 }]);
});

test('a lost job whose file somebody holds locked does not keep the others from being retried', async (t) => {
  const own = await createDatabase();
  const holder = await own.connect();
  t.after(() => {
    holder.release();
    return own.drop();
  });
  await own.query(
    `insert into auction_files (source_key) select n::text from generate_series(1, 3) n;
     insert into publish_jobs (kind, status, attempt, locked_by, file_id)
     select 'file', 'processing', 1, '00000000-0000-4000-8000-000000000000', id from auction_files order by source_key`,
  );
  const retried = async () => {
    await transaction(own, async (tx) => {
      await tx.query(`set local lock_timeout = '100ms'`);
      await reconcile(tx, 'rowmill_tickets', 'publish', silent);
    });
    const { rows } = await own.query<{ status: string }>('select status from publish_jobs order by id');
    return rows.map(({ status }) => status);
  };
  await holder.query(`begin; select from auction_files where source_key = '2' for update`);
  assert.deepEqual(await retried(), ['pending', 'processing', 'pending']);
  await holder.query('commit');
  assert.deepEqual(await retried(), ['pending', 'pending', 'pending']);
});
