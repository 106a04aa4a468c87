import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { throughput } from '../../../worker/queue/client/throughput.ts';
import { pruneRollups, Rollups } from '../../../worker/queue/fleet/rollups.ts';
import { count, entryOf, quantile } from '../../../worker/queue/histogram.ts';
import type { JobRow } from '../../../worker/queue/job.ts';
import { unknownKind, type Registry } from '../../../worker/queue/registry.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { add } from '../../support/jobs.ts';
import { createRig } from '../../support/worker.ts';

const sum = (numbers: number[]) => numbers.reduce((total, each) => total + each, 0);
const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);

suite('a histogram', () => {
  const of = (values: number[]) => {
    const histogram: number[] = [];
    for (const ms of values) count(histogram, ms);
    return histogram;
  };

  test('counts each value up to the bound of its entry', () => {
    assert.deepEqual([0, 1, 1.4, 2, 2.9, 4, 1e12].map(entryOf), [0, 0, 1, 2, 4, 4, 47]);
    for (let n = 0; n < 47; n++) {
      assert.equal(entryOf(2 ** (n / 2)), n);
      assert.equal(entryOf(2 ** (n / 2) * 1.0001), n + 1);
    }
    assert.deepEqual(of([1, 3, 3]), [1, 0, 0, 0, 2]);
  });

  test('gives quantiles that are right to a fifth', () => {
    const values = Array.from({ length: 1_000 }, (_, n) => (n + 1) * 7);
    for (const share of [0.05, 0.5, 0.95, 0.99, 1]) {
      const exact = values[Math.ceil(share * values.length) - 1]!;
      const read = quantile(of(values), share)!;
      assert.ok(read > exact / 1.2 && read < exact * 1.2, `${share}: ${read}, and not ${exact}`);
    }
    assert.equal(quantile([], 0.5), null);
    assert.equal(quantile([0, 0], 0.5), null);
  });
});

suite('the attempts of workers', () => {
  let db: TestDatabase;
  const registry: Registry = new Map([['media.image', {} as never]]);
  const row = (kind: string): JobRow => ({ queue: 'media', kind }) as JobRow;
  const read = async (queue?: string) => {
    const { rows } = await db.query(
      `select minutes, queue, kind, completed, failed, retried, duration_ms, durations::float8[] as durations,
              waited_ms, waits::float8[] as waits
         from job_rollups order by minutes, queue, kind`,
    );
    return queue ? rows.filter((each) => each['queue'] === queue) : rows;
  };
  before(async () => {
    db = await createDatabase();
  });
  after(() => db.drop());

  test('are added up over processes and kinds, of which unknown ones share a row', async () => {
    const [one, other] = [new Rollups(db, registry), new Rollups(db, registry)];
    one.started(row('image'), 3);
    one.ended(row('image'), { outcome: 'completed' }, 100);
    one.ended(row('image'), { outcome: 'snooze', delay_ms: 1, reason: '' }, 5_000);
    await one.write();
    await one.write();
    other.started(row('image'), 1);
    other.ended(row('image'), { outcome: 'retry', error_code: 'x', status: 'pending', retry_count: 1 }, 1);
    for (const kind of ['x', 'y'])
      other.ended(row(kind), { outcome: 'fail', error_code: 'x', status: 'failed', retry_count: 1 }, 2);
    await other.write();
    const image = {
      queue: 'media',
      kind: 'image',
      completed: 1,
      failed: 0,
      retried: 1,
      duration_ms: 101,
      durations: [1, ...Array.from({ length: 13 }, () => 0), 1],
      waited_ms: 4,
      waits: [1, 0, 0, 0, 1],
    };
    const unknown = {
      ...image,
      kind: unknownKind,
      completed: 0,
      failed: 2,
      retried: 0,
      duration_ms: 4,
      durations: [0, 0, 2],
      waited_ms: 0,
      waits: [],
    };
    // A minute may have begun meanwhile.
    const found = (await read()).filter(({ minutes }) => minutes === 15);
    assert.deepEqual(
      found,
      [unknown, image].map((each) => ({ minutes: 15, ...each })),
    );
  });

  test('that could not be written are written the next time, with those that came since', async () => {
    await db.query('truncate job_rollups; alter table job_rollups rename to job_rollups_away');
    const rollups = new Rollups(db, registry);
    rollups.ended(row('image'), { outcome: 'completed' }, 1);
    const failing = rollups.write();
    rollups.ended(row('image'), { outcome: 'completed' }, 4);
    rollups.started(row('new'), 1);
    await assert.rejects(failing, /job_rollups/);
    await db.query('alter table job_rollups_away rename to job_rollups');
    await rollups.write();
    const [unknown, image] = (await read()).filter(({ minutes }) => minutes === 1);
    assert.deepEqual([image.completed, image.duration_ms, image.durations], [2, 5, [1, 0, 0, 0, 1]]);
    assert.deepEqual(unknown.waits, [1]);
  });

  test('are kept by the minute for a day, and by the quarter of an hour for a month', async () => {
    await db.query(`
      truncate job_rollups;
      insert into job_rollups (minutes, at, queue, kind)
      select m, now() - age, 'media', 'image'
        from unnest(array[1, 15]) m, unnest(array['23 hours', '25 hours', '30 days', '32 days']::interval[]) age`);
    await pruneRollups(db);
    const { rows } = await db.query(
      `select minutes, array_agg(extract(hour from justify_hours(now() - at))::int
                                 + 24 * extract(day from justify_hours(now() - at))::int order by at desc) as hours
         from job_rollups group by minutes order by minutes`,
    );
    assert.deepEqual(rows, [
      { minutes: 1, hours: [23] },
      { minutes: 15, hours: [23, 25, 720] },
    ]);
  });
});

test('the throughput of a worker is read as columns, by the minute or the quarter of an hour', async (t) => {
  const rig = await createRig();
  t.after(() => rig.close());
  await rig.db.query('update queues set max_retries = 0');
  const worker = await rig.worker({
    'media.good': async () => 'done',
    'media.bad': async () => {
      throw new Error('no');
    },
    'cleanup.good': async () => 'done',
  });
  for (const [queue, kind] of [
    ['media', 'good'],
    ['media', 'good'],
    ['media', 'bad'],
    ['cleanup', 'good'],
  ] as const)
    await add(rig.db, queue, kind);
  await eventually(async () => {
    const { queues } = await throughput(rig.db, { since: minutesAgo(60) });
    assert.deepEqual(
      queues.map(({ queue, completed, failed }) => [queue, sum(completed), sum(failed)]),
      [
        ['cleanup', 1, 0],
        ['media', 2, 1],
      ],
    );
  });
  // What came since the last write is written when a worker stops.
  await add(rig.db, 'media', 'good');
  await eventually(async () => {
    const { rows } = await rig.db.query(`select from jobs where status = 'completed'`);
    assert.equal(rows.length, 4);
  });
  await worker.stop();

  const hour = await throughput(rig.db, { since: minutesAgo(60), queue: 'media' });
  assert.equal(hour.step_s, 60);
  assert.ok(hour.at.length === 61 || hour.at.length === 62, `${hour.at.length}`);
  assert.ok(hour.at.every((at, n) => n === 0 || at === hour.at[n - 1]! + 60));
  const [media] = hour.queues;
  assert.equal(sum(media!.completed), 3);
  for (const columns of [media!.completed, media!.retried, ...Object.values(media!.wait)])
    assert.equal(columns.length, hour.at.length);
  const busy = media!.completed.findLastIndex((each) => each > 0);
  assert.ok(media!.duration.p95[busy]! >= 0 && media!.duration.mean[busy]! < 60_000);
  assert.equal(media!.duration.p95[0], null);

  const day = await throughput(rig.db, { since: minutesAgo(24 * 60), queue: 'media' });
  assert.equal(day.step_s, 900);
  assert.equal(sum(day.queues[0]!.completed), 3);
});
