import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RetryableError } from '../../../worker/base/errors.ts';
import { eventually } from '../../support/eventually.ts';
import { everything } from '../../support/everything.ts';
import { quietShare } from '../../support/quiet-time.ts';
import { add, reads } from '../../support/jobs.ts';
import { createRig, type Rig } from '../../support/worker.ts';

// When a job starts, though the worker polls but once a minute; and who goes first.

let rig: Rig;
let met = 0;
let held = true;

before(async () => {
  rig = await createRig();
  await rig.db.query(`update queues set backoff_ms = 300`);
  await rig.worker(
    {
      'media.echo': async () => null,
      // Ends when three of them run.
      'media.meet': async ({ signal }) => {
        met++;
        while (met < 3) await sleep(20, undefined, { signal });
      },
      'media.flaky': async ({ job }) => {
        if (job.attempt === 1) throw new RetryableError('once', 'once more');
      },
    },
    { QUEUES: 'media', WORKER_POLL_INTERVAL: '60000', WORKER_CONCURRENCY: '10' },
  );
  await rig.worker(
    {
      'notification.slow': async ({ signal }) => sleep(200, undefined, { signal }),
      'notification.urgent': async () => null,
    },
    { QUEUES: 'notification', WORKER_POLL_INTERVAL: '60000', WORKER_CONCURRENCY: '1' },
  );
  await rig.worker(
    {
      'analytics.held': async ({ signal }) => {
        while (held) await sleep(20, undefined, { signal });
      },
      'analytics.urgent': async () => null,
    },
    { QUEUES: 'analytics', WORKER_POLL_INTERVAL: '60000', WORKER_CONCURRENCY: '20' },
  );
  // Their first looks are over.
  await sleep(1_000);
});
after(() => rig.close());

/** In milliseconds of a quiet machine. */
async function lateBy(id: number): Promise<number> {
  const share = quietShare();
  await reads(rig.db, id, { status: 'completed' });
  const { rows } = await rig.db.query<{ late: number }>(
    `select (extract(epoch from started_at - run_at) * 1000)::float8 as late from jobs where id = $1`,
    [id],
  );
  return rows[0]!.late * share();
}

for (const [when, interval] of [
  ['within the second', '350 milliseconds'],
  ['within the next few', '2200 milliseconds'],
  ['later', '4500 milliseconds'],
] as const) {
  test(`a job due ${when} starts when it is due`, async () => {
    const { rows } = await rig.db.query<{ id: number }>(
      `insert into media_jobs (kind, run_at) values ('echo', now() + $1::interval) returning id`,
      [interval],
    );
    const late = await lateBy(rows[0]!.id);
    assert.ok(late >= 0 && late < 5_000, `${late} ms late`);
  });
}

test('each of many jobs that are due one after the other starts when it is due', async () => {
  const { rows } = await rig.db.query<{ id: number }>(
    `insert into media_jobs (kind, run_at) select 'echo', now() + interval '1 s' + n * interval '7 ms'
     from generate_series(1, 50) n returning id`,
  );
  const late = await Promise.all(rows.map(({ id }) => lateBy(id)));
  assert.ok(Math.max(...late) < 5_000, `${Math.max(...late)} ms late`);
});

test('a job that is moved to an earlier time starts then', async () => {
  const id = await add(rig.db, 'media', 'echo', { run_at: new Date(Date.now() + 3_600_000) });
  await rig.db.query(`update jobs set run_at = clock_timestamp() + interval '300 ms' where id = $1`, [id]);
  const late = await lateBy(id);
  assert.ok(late >= 0 && late < 5_000, `${late} ms late`);
});

test('a retry starts when its backoff is over', async () => {
  const id = await add(rig.db, 'media', 'flaky');
  const late = await lateBy(id);
  assert.ok(late >= 0 && late < 5_000, `${late} ms late`);
});

test('jobs of several inserts in one transaction start together', async () => {
  const client = await rig.db.connect();
  await client.query('begin');
  const ids = [];
  for (let n = 0; n < 3; n++) ids.push(await add(client, 'media', 'meet'));
  await client.query('commit');
  client.release();
  for (const id of ids) await reads(rig.db, id, { status: 'completed' });
});

test('of jobs that are inserted one at a time, as fast as they go, none is overlooked', async () => {
  const insert = async () => {
    for (let n = 0; n < 5; n++) await rig.db.query(`insert into media_jobs (kind) values ('echo')`);
  };
  for (let burst = 0; burst < (everything ? 100 : 25); burst++) {
    await Promise.all([insert(), insert(), insert()]);
    await eventually(async () => {
      const { rows } = await rig.db.query(`select from media_jobs where status <> 'completed'`);
      assert.equal(rows.length, 0);
    }, 5_000);
  }
});

test('an urgent job does not wait for the ticket of a bulk insert to end', async () => {
  await rig.db.query(`insert into notification_jobs (kind) select 'slow' from generate_series(1, 200)`);
  await eventually(async () => {
    const { rows } = await rig.db.query(`select from notification_jobs where status = 'processing'`);
    assert.equal(rows.length, 1);
  });
  const ids = [];
  for (let n = 0; n < 3; n++) {
    const id = await add(rig.db, 'notification', 'urgent', { priority: -10 });
    ids.push(id);
    await sleep(50);
  }
  for (const id of ids) {
    await reads(rig.db, id, { status: 'completed' });
    const { rows } = await rig.db.query<{ before: number }>(
      `select count(*)::int as before from notification_jobs slow, jobs urgent
        where urgent.id = $1 and slow.kind = 'slow'
          and slow.started_at between urgent.created_at and urgent.started_at`,
      [id],
    );
    assert.ok(rows[0]!.before <= 5, `${rows[0]!.before} jobs of a ticket of 25 went first`);
  }
  // Those that made room are not lost.
  await rig.db.query(`delete from notification_jobs where status = 'pending' and id % 10 <> 0`);
  await eventually(async () => {
    const { rows } = await rig.db.query(
      `select status, count(*)::int as n from notification_jobs where kind = 'slow' group by 1`,
    );
    assert.deepEqual(
      rows.map((row) => row.status),
      ['completed'],
    );
  }, 15_000);
});

test('a worker claims what it can start soon, not more; but an urgent job as soon as a slot is free', async () => {
  await rig.db.query(`insert into analytics_jobs (kind) select 'held' from generate_series(1, 400)`);
  await eventually(async () => assert.ok((await claimed('analytics')) >= 10));
  const id = await add(rig.db, 'analytics', 'urgent', { priority: -10 });
  await sleep(500);
  const tickets = await claimed('analytics');
  assert.ok(tickets < 17, `${tickets} tickets of 10 jobs in 20 slots`);
  held = false;
  await eventually(async () => {
    const { rows } = await rig.db.query(`select from analytics_jobs where status <> 'completed'`);
    assert.equal(rows.length, 0);
  }, 20_000);
  const { rows } = await rig.db.query<{ before: number }>(
    `select count(*)::int as before from analytics_jobs other, analytics_jobs urgent
      where urgent.id = $1 and other.started_at < urgent.started_at`,
    [id],
  );
  // Those that ran, and those that were started by the same statement.
  assert.ok(rows[0]!.before < 40, `${rows[0]!.before} of 400 went before`);
});

test('a worker that starts with a long queue before it claims no more at a time than that', async () => {
  await rig.db.query(`update queues set batch_size = 10 where name = 'social'`);
  await rig.db.query(`insert into social_jobs (kind) select 'brief' from generate_series(1, 600)`);
  const brief = async () => sleep(100);
  await rig.worker({ 'social.brief': brief }, { QUEUES: 'social', WORKER_CONCURRENCY: '20' });
  const looks: number[] = [];
  for (let left = 1; left > 0; left = await waiting('social')) looks.push(await claimed('social'));
  assert.ok(Math.max(...looks) < 18, `${Math.max(...looks)} tickets of 10 jobs in 20 slots`);
});

/** Tickets of the queue that a worker holds. */
async function claimed(queue: string): Promise<number> {
  const { rows } = await rig.db.query<{ tickets: number }>(
    `select count(*)::int as tickets from rowmill_tickets._private_jobs t
       join rowmill_tickets._private_tasks k on k.id = t.task_id
      where k.identifier = $1 and t.locked_at is not null`,
    [queue],
  );
  return rows[0]!.tickets;
}

async function waiting(queue: string): Promise<number> {
  const { rows } = await rig.db.query<{ jobs: number }>(
    `select count(*)::int as jobs from jobs where queue = $1 and status = 'pending'`,
    [queue],
  );
  return rows[0]!.jobs;
}
