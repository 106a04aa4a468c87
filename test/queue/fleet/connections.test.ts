import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../../worker/base/config/config.ts';
import { connectionsOf } from '../../../worker/base/config/connections.ts';
import { createDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { spawnWorker } from '../../support/processes.ts';

const readme = readFileSync(join(import.meta.dirname, '../../../README.md'), 'utf8');

test('README says how many connections a process opens at most', () => {
  assert.equal(
    Number(/A process opens (\d+)\s+connections at most/.exec(readme)?.[1]),
    loadConfig({}).connections.most,
  );
});

test('they are shared out whole, and each pool has one', () => {
  assert.deepEqual(connectionsOf(16), { most: 16, app: 7, claims: 4, ledger: 3 });
  assert.deepEqual(connectionsOf(6), { most: 6, app: 2, claims: 1, ledger: 1 });
  assert.throws(() => loadConfig({ DATABASE_CONNECTIONS: '5' }), /DATABASE_CONNECTIONS: must be 6 or more/);
});

for (const most of [6, 16])
  test(`a busy process that serves all queues and may open ${most} connections opens no more`, async (t) => {
    const db = await createDatabase();
    t.after(() => db.drop());
    await db.query('create table effects (job_id bigint, name text)');
    const url = new URL(db.url);
    url.searchParams.set('application_name', 'counted');
    const queues = (await db.query<{ name: string }>('select name from queues')).rows.map(({ name }) => name);
    const worker = await spawnWorker(url.href, {
      QUEUES: queues.join(),
      WORKER_CONCURRENCY: '100',
      DATABASE_CONNECTIONS: String(most),
    });
    t.after(() => worker.end('SIGKILL'));

    // Each waits for a lock that we hold, in a transaction of its own; meanwhile the engine starts and ends others.
    const holder = await db.connect();
    await holder.query('begin; lock table effects in exclusive mode');
    const insert = `insert into media_jobs (kind, payload) select $1, '{"ms": 5}' from generate_series(1, $2)`;
    await db.query(insert, ['late_commit', 50]);
    let seen = 0;
    const look = async () => {
      const { rows } = await db.query(`select count(*) from pg_stat_activity where application_name = 'counted'`);
      seen = Math.max(seen, Number(rows[0].count));
      assert.ok(seen <= most, `${seen} connections`);
    };
    await eventually(async () => {
      await db.query(insert, ['slow', 20]);
      await db.query(`insert into jobs (queue, kind) select name, 'none' from queues, generate_series(1, 20)`);
      await look();
      assert.ok(seen > connectionsOf(most).app + 1, `only ${seen} connections were seen`);
    });
    await holder.query('rollback');
    holder.release();
    await eventually(async () => {
      await look();
      const { rows } = await db.query(
        `select count(*) from jobs where status in ('pending', 'processing') and kind <> 'none'`,
      );
      assert.equal(Number(rows[0].count), 0);
    }, 30_000);
  });
