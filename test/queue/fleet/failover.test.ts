import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../support/eventually.ts';
import { slow } from '../../support/everything.ts';
import { add, reads } from '../../support/jobs.ts';
import { spawnWorker } from '../../support/processes.ts';
import { startProxy, type Proxy } from '../../support/proxy.ts';
import { createRig, type Rig } from '../../support/worker.ts';

// Postgres goes away without a word, or a worker does: work goes on within seconds. `npm run bench -- failover`
// measures how soon.

let rig: Rig;
before(async () => {
  rig = await createRig();
  await rig.db.query('create table effects (job_id bigint, name text)');
});
after(() => rig.close());

slow('a worker starts although its first connections time out', async (t) => {
  const proxy = await startProxy(rig.db.url);
  t.after(() => proxy.close());
  proxy.freeze();
  const starting = rig.worker({ 'media.echo': async ({ payload }) => payload }, {}, { url: proxy.url });
  // Longer than opening a connection may take.
  await sleep(5_500);
  proxy.thaw();
  const worker = await starting;
  await reads(rig.db, await add(rig.db, 'media', 'echo'), { status: 'completed' });
  await worker.stop();
});

suite('connections that are lost without a word', () => {
  let proxy: Proxy;
  before(async () => {
    const url = new URL(rig.db.url);
    url.searchParams.set('application_name', 'lost');
    proxy = await startProxy(url.href);
    const handlers = {
      'media.echo': async ({ payload }: { payload: unknown }) => payload,
      'media.commits': async ({ job, commit }: { job: { id: number }; commit: (work: Function) => Promise<unknown> }) =>
        commit(async (tx: { query: Function }) => {
          await tx.query(`insert into effects values ($1, 'commits')`, [job.id]);
          return 1;
        }),
      'media.slow_statement': async ({ app }: { app: { db: { query: Function } } }) =>
        void (await app.db.query('select pg_sleep(4)')),
    };
    await rig.worker(handlers as never, {}, { url: proxy.url });
  });
  after(() => proxy.close());

  async function works(): Promise<void> {
    const ids = [await add(rig.db, 'media', 'echo'), await add(rig.db, 'media', 'commits')];
    for (const id of ids) await reads(rig.db, id, { status: 'completed', retry_count: 0 }, 20_000);
  }

  test('are replaced, and what they left on the server is ended', async () => {
    await works();
    proxy.lose();
    await works();
    await eventually(async () => {
      const { rows } = await rig.db.query(
        `select count(*) as sessions from pg_stat_activity where application_name = 'lost'`,
      );
      assert.ok(rows[0].sessions <= 17, `${rows[0].sessions} sessions`);
    });
  });

  slow('are replaced when new ones can be opened again', async () => {
    proxy.freeze();
    await sleep(4_000);
    proxy.thaw();
    await works();
  });

  slow('are told from a statement that takes long', async () => {
    const id = await add(rig.db, 'media', 'slow_statement');
    await reads(rig.db, id, { status: 'completed', attempt: 1 }, 20_000);
  });
});

slow('a worker that is frozen in its transaction holds no row for longer than until it is declared dead', async (t) => {
  const env = { WORKER_DEAD_AFTER: '3000', HEARTBEAT_INTERVAL: '300', WORKER_CONCURRENCY: '1' };
  const frozen = await spawnWorker(rig.db.url, { ...env, QUEUES: 'analytics' });
  t.after(() => frozen.end('SIGKILL'));
  await rig.db.query(`update queues set backoff_ms = 10 where name = 'analytics'`);
  const { rows } = await rig.db.query<{ id: number }>(
    `insert into analytics_jobs (kind, payload) values ('sleep_in_commit', '{"ms": 1500}') returning id`,
  );
  const { id } = rows[0]!;
  const inside = `
    select from pg_stat_activity
     where state = 'idle in transaction' and query like 'insert into effects%' and datname = current_database()`;
  await eventually(async () => assert.equal((await rig.db.query(inside)).rows.length, 1));
  frozen.child.kill('SIGSTOP');

  const other = await spawnWorker(rig.db.url, { ...env, QUEUES: 'analytics' });
  t.after(() => other.end('SIGKILL'));
  await reads(rig.db, id, { status: 'completed', attempt: 2, retry_count: 1 }, 30_000);
  frozen.child.kill('SIGCONT');
  await eventually(async () => assert.notEqual((await frozen.ask()).id, frozen.id), 20_000);
  const effects = await rig.db.query('select name from effects where job_id = $1', [id]);
  assert.deepEqual(effects.rows, [{ name: 'in commit' }]);
});

test('when claiming starts again it looks at once for what came meanwhile', async () => {
  const worker = await rig.worker({ 'media.echo': async () => 1 }, { WORKER_POLL_INTERVAL: '60000' });
  await rig.db.query(`update queues set paused = true where name = 'media'`);
  await eventually(() => assert.ok(worker.activity().find(({ queue }) => queue === 'media')?.paused));
  const id = await add(rig.db, 'media', 'echo');
  // The word of the new job comes while nothing is claimed.
  await sleep(500);
  await rig.db.query(`update queues set paused = false where name = 'media'`);
  await reads(rig.db, id, { status: 'completed' }, 10_000);
  await worker.stop();
});
