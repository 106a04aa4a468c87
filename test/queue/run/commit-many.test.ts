import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { z } from 'zod';
import { byIndex } from '../../../worker/base/db/by-index.ts';
import { transaction, type Tx } from '../../../worker/base/db/db.ts';
import { bind } from '../../../worker/base/db/sql.ts';
import { PermanentError } from '../../../worker/base/errors.ts';
import { job, type BatchContext, type JobContext } from '../../../worker/queue/job.ts';
import { eventually } from '../../support/eventually.ts';
import { startProxy, type Proxy } from '../../support/proxy.ts';
import { statementOf } from '../../support/statement.ts';
import { createRig, type Rig } from '../../support/worker.ts';

// The commit of a batch: effects and completions of many jobs in one transaction.

const payload = z.object({ n: z.number() });
type Payload = z.output<typeof payload>;
type Context = JobContext<Payload>;

let rig: Rig;
let proxy: Proxy;
let calls = 0;
let answer: (jobs: Context[], batch: BatchContext<Payload>) => Promise<unknown[]>;
beforeEach(() => {
  calls = 0;
});

before(async () => {
  rig = await createRig();
  proxy = await startProxy(rig.db.url);
  await rig.db.query(`update queues set backoff_ms = 50, batch_size = 500 where name = 'notification'`);
  await rig.db.query(`create table effects (job_id bigint primary key, transaction xid8 default pg_current_xact_id())`);
  const kind = job({
    name: 'notification.batch',
    payload,
    batchSize: 500,
    runBatch: (jobs, batch) => {
      calls++;
      return answer(jobs, batch);
    },
  });
  await rig.worker(
    new Map([[kind.name, kind]]),
    { QUEUES: 'notification', WORKER_CONCURRENCY: '1' },
    { url: proxy.url },
  );
});
after(async () => {
  await rig.close();
  await proxy.close();
});

/** Inserts jobs that all come in one batch. */
async function insert(count: number, max_retries = 3): Promise<number[]> {
  const { rows } = await rig.db.query<{ id: number }>(
    `insert into notification_jobs (kind, payload, max_retries)
     select 'batch', jsonb_build_object('n', n), $2 from generate_series(1, $1::int) n returning id`,
    [count, max_retries],
  );
  return rows.map(({ id }) => id);
}

type Row = { id: number; status: string; attempt: number; result: unknown; error_code: string | null; effect: boolean };

/** The jobs with whether their effect is there, once all have ended. */
const ended = (ids: number[]): Promise<Row[]> =>
  eventually(async () => {
    const { rows } = await rig.db.query<Row>(
      `select j.id, j.status, j.attempt, j.result, j.error_code, e.job_id is not null as effect
         from notification_jobs j left join effects e on e.job_id = j.id where j.id = any($1) order by j.id`,
      [ids],
    );
    assert.ok(rows.every(({ status }) => status !== 'pending' && status !== 'processing'));
    return rows;
  }, 20_000);

const effect = (tx: Tx, held: Context[]) =>
  tx.query('insert into effects select unnest($1::bigint[])', [held.map((one) => one.job.id)]);
const resultsOf = (held: Context[]) => new Map(held.map((one) => [one.job.id, { n: one.payload.n }]));

test('500 jobs are one transaction; one that was cancelled meanwhile is not held, and has no effect', async () => {
  let cancelled = 0;
  answer = async (jobs, { commitMany }) => {
    cancelled = jobs[123]!.job.id;
    await rig.db.query(`update notification_jobs set status = 'cancelled' where id = $1`, [cancelled]);
    const done = await commitMany(async (tx, held) => {
      await effect(tx, held);
      return resultsOf(held);
    });
    assert.equal(done.size, 499);
    return jobs.map(() => new Error('too late'));
  };
  const ids = await insert(500);
  const rows = await ended(ids);
  assert.equal(calls, 1);
  assert.deepEqual(
    rows.map(({ status, attempt, effect: there, result }) => ({ status, attempt, effect: there, result })),
    ids.map((id, at) =>
      id === cancelled
        ? { status: 'cancelled', attempt: 1, effect: false, result: null }
        : { status: 'completed', attempt: 1, effect: true, result: { n: at + 1 } },
    ),
  );
  const { rows: transactions } = await rig.db.query(
    `select count(distinct e.transaction) as effects, count(distinct j.xmin::text) as completions,
            bool_and(j.xmin = e.transaction::xid) as same
       from effects e join notification_jobs_live j on j.id = e.job_id where j.id = any($1)`,
    [ids],
  );
  assert.deepEqual(transactions, [{ effects: 1, completions: 1, same: true }]);
});

test('those that it gives no result for are answered for as usual', async () => {
  answer = async (jobs, { commitMany }) => {
    const done = await commitMany(async (tx, held) => {
      const some = held.filter((one) => one.payload.n <= 2);
      await effect(tx, some);
      return resultsOf(some);
    });
    return jobs.map(({ job: { id }, payload: { n } }) =>
      n === 4 ? 'answered' : done.has(id) ? undefined : new PermanentError('no_such_token', 'gone'),
    );
  };
  const rows = await ended(await insert(4));
  assert.deepEqual(
    rows.map(({ status, error_code, result, effect: there }) => [status, error_code, result, there]),
    [
      ['completed', null, { n: 1 }, true],
      ['completed', null, { n: 2 }, true],
      ['failed', 'no_such_token', null, false],
      ['completed', null, 'answered', false],
    ],
  );
});

test('the answer to its COMMIT may be lost: it has been done, and is not done twice', async () => {
  let works = 0;
  proxy.loseCommitAfter('the answer is lost');
  answer = async (jobs, { commitMany }) => {
    const done = await commitMany(async (tx, held) => {
      works++;
      await tx.query(`select 'the answer is lost'`);
      // One stays open, and would be held again.
      const some = held.slice(1);
      await effect(tx, some);
      return resultsOf(some);
    });
    assert.equal(done.size, 9);
    return jobs.map(() => 'answered');
  };
  const rows = await ended(await insert(10));
  assert.deepEqual([calls, works], [1, 1]);
  assert.deepEqual(
    rows.map(({ status, attempt, effect: there }) => [status, attempt, there]),
    rows.map((_, at) => ['completed', 1, at > 0]),
  );
});

test('the same holds for the commit of one job', async () => {
  let works = 0;
  proxy.loseCommitAfter('the answer is lost');
  answer = async ([only]) => [
    await only!.commit(async (tx) => {
      works++;
      await tx.query(`select 'the answer is lost'`);
      await effect(tx, [only!]);
      return 'committed';
    }),
  ];
  const [row] = await ended(await insert(1));
  assert.deepEqual([calls, works], [1, 1]);
  assert.deepEqual([row!.status, row!.attempt, row!.result, row!.effect], ['completed', 1, 'committed', true]);
});

test('where the connection is lost before its COMMIT, it is done again', async () => {
  let works = 0;
  answer = async (jobs, { commitMany }) => {
    await commitMany(async (tx, held) => {
      await effect(tx, held);
      if (++works === 1) await tx.query(`select pg_terminate_backend(pg_backend_pid())`);
      return resultsOf(held);
    });
    return jobs.map(() => new Error('too late'));
  };
  const rows = await ended(await insert(3));
  assert.deepEqual([calls, works], [1, 2]);
  assert.ok(rows.every(({ status, attempt, effect: there }) => status === 'completed' && attempt === 1 && there));
});

test('one job that Postgres refuses does not take its neighbours along', async () => {
  answer = async (jobs, { commitMany }) => {
    await rig.db.query('insert into effects values ($1)', [jobs[1]!.job.id]);
    await commitMany(async (tx, held) => {
      await effect(tx, held);
      const results = new Map<number, unknown>(resultsOf(held));
      for (const {
        job: { id },
        payload: { n },
      } of held)
        if (n === 3) results.set(id, 'x'.repeat(1_000_001));
      return results;
    });
    return jobs.map(() => 'answered');
  };
  const rows = await ended(await insert(4, 0));
  assert.deepEqual(
    rows.map(({ status, error_code, result }) => [status, error_code, result]),
    [
      ['completed', null, { n: 1 }],
      ['failed', 'postgres_23505', null],
      ['failed', 'result_too_large', null],
      ['completed', null, { n: 4 }],
    ],
  );
  assert.deepEqual(
    rows.map((row) => row.effect),
    [true, true, false, true],
  );
});

test('a result for a job that it does not hold is an error of the handler, and nothing is written', async () => {
  answer = async (jobs, { commitMany }) => {
    await commitMany(async (tx, held) => {
      await effect(tx, held);
      return new Map([[-1, 'whose?']]);
    });
    return jobs.map(() => 'answered');
  };
  const [row] = await ended(await insert(1, 0));
  assert.deepEqual([row!.status, row!.error_code, row!.effect], ['failed', 'unexpected_error', false]);
});

test("its statements use indexes on a table without statistics; the handler's are planned as before", async () => {
  await rig.db.query(`alter table social_jobs_live set (autovacuum_enabled = off)`);
  await rig.db.query(`insert into social_jobs (kind) select 'x' from generate_series(1, 20000)`);
  const identifiers = { live: 'social_jobs_live', schema: 'public' };
  const { text, params } = bind(statementOf('worker/queue/run/ledger.sql', 'hold_jobs'), identifiers);
  const ids = `{${Array.from({ length: 500 }, (_, at) => at).join()}}`;
  const values: Record<string, string> = { ids, attempts: ids, worker: '00000000-0000-4000-8000-000000000001' };
  const plan = (tx: Tx) =>
    tx.query(
      `explain ${text}`,
      params.map((param) => values[param]),
    );
  await transaction(rig.db, async (tx) => {
    const usual = (await plan(tx)).rows;
    assert.doesNotMatch(JSON.stringify((await byIndex(tx, () => plan(tx))).rows), /Seq Scan on/);
    assert.deepEqual((await plan(tx)).rows, usual);
  });
});

test('jobs that commit at the same moment share a transaction; one that fails, or is locked, is alone', async (t) => {
  const count = 20;
  const holder = await rig.db.connect();
  t.after(() => holder.release());
  let all = Promise.withResolvers<void>();
  let waiting = 0;
  const write = async (tx: Tx, items: { id: number; bad: boolean }[]) => {
    await tx.query('insert into effects select unnest($1::bigint[])', [items.map(({ id }) => id)]);
    if (items.some(({ bad }) => bad)) throw new PermanentError('bad', 'It cannot be written');
  };
  const kind = job({
    name: 'analytics.single',
    payload: payload.extend({ bad: z.int().default(0), gone: z.int().default(0), locked: z.int().default(0) }),
    run: async ({ job: { id }, payload: { n, bad, gone, locked }, commitTogether }) => {
      if (n === gone) await rig.db.query(`update analytics_jobs set status = 'cancelled' where id = $1`, [id]);
      const commit = () => commitTogether(write, { id, bad: n === bad }, { n });
      if (n === locked) {
        await holder.query('begin');
        await holder.query('select from analytics_jobs_live where id = $1 for update', [id]);
        const committed = commit();
        await eventually(async () => {
          const stuck = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
          assert.equal((await rig.db.query(stuck)).rowCount, 1);
        });
        all.resolve();
        return committed;
      }
      if (++waiting === count) all.resolve();
      await all.promise;
      return commit();
    },
  });
  await rig.worker(new Map([[kind.name, kind]]), { QUEUES: 'analytics', WORKER_CONCURRENCY: String(count) });
  const run = async (more: object, open = 0) => {
    all = Promise.withResolvers();
    waiting = 0;
    const { rows } = await rig.db.query<{ id: number }>(
      `insert into analytics_jobs (kind, payload)
       select 'single', jsonb_build_object('n', n) || $2 from generate_series(1, $1::int) n returning id`,
      [count, more],
    );
    return eventually(async () => {
      const found = await rig.db.query(
        `select j.status, j.error_code, j.result ->> 'n' as n, e.transaction
           from analytics_jobs j left join effects e on e.job_id = j.id where j.id = any($1) order by j.id`,
        [rows.map(({ id }) => id)],
      );
      const isOpen = ({ status }: { status: string }) => status === 'pending' || status === 'processing';
      assert.equal(found.rows.filter(isOpen).length, open);
      return found.rows;
    });
  };

  const well = await run({});
  assert.deepEqual(
    well.map(({ status, n }) => [status, n]),
    Array.from({ length: count }, (_, n) => ['completed', String(n + 1)]),
  );
  assert.equal(new Set(well.map(({ transaction: within }) => within)).size, 1);

  const some = await run({ bad: 7, gone: 5 });
  for (const [at, { status, error_code, transaction: effects }] of some.entries()) {
    const expected = { 7: ['failed', 'bad'], 5: ['cancelled', null] }[at + 1] ?? ['completed', null];
    assert.deepEqual([status, error_code], expected, `job ${at + 1}`);
    assert.equal(effects !== null, status === 'completed', `job ${at + 1}`);
  }

  const others = await run({ locked: 1 }, 1);
  assert.equal(others[0].status, 'processing');
  await holder.query('rollback');
});
