import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { PermanentError, Snooze } from '../../../worker/base/errors.ts';
import { job } from '../../../worker/queue/job.ts';
import type { Ended, Observer } from '../../../worker/queue/run/observer.ts';
import { eventually } from '../../support/eventually.ts';
import { add, reads } from '../../support/jobs.ts';
import { createRig, type Rig } from '../../support/worker.ts';

// What an observer is told of attempts.

type Told = { started: number; waited_ms: number } | { ended: number; outcome: Ended; duration_ms: number };

let rig: Rig;
const told = new Map<number, Told[]>();
const tell = (id: number, what: Told) => void told.set(id, [...(told.get(id) ?? []), what]);
const watching: Observer = {
  started: ({ id, attempt }, waited_ms) => tell(id, { started: attempt, waited_ms }),
  ended: ({ id, attempt }, outcome, duration_ms) => tell(id, { ended: attempt, outcome, duration_ms }),
};
const broken: Observer = {
  started() {
    throw new Error('no metrics today');
  },
  ended() {
    throw new Error('no metrics today');
  },
};

before(async () => {
  rig = await createRig();
  await rig.db.query('update queues set backoff_ms = 10, batch_size = 10');
  const payload = z.object({});
  const fails = { permanent: new PermanentError('no_such_thing', 'gone'), again: new Error('once more') };
  const kinds = [
    job({ name: 'media.done', payload, run: async () => 'done' }),
    job({ name: 'media.committed', payload, run: ({ commit }) => commit(async () => 'done') }),
    job({
      name: 'media.flaky',
      payload,
      run: async ({ job: { attempt } }) => {
        if (attempt === 1) throw fails.again;
        if (attempt === 2) throw new Snooze(0, 'not yet', { bounded: false });
        throw fails.permanent;
      },
    }),
    job({ name: 'media.slow', payload, run: ({ signal }) => sleep(60_000, undefined, { signal }) }),
    job({
      name: 'notification.batch',
      payload,
      batchSize: 10,
      runBatch: async (jobs) => jobs.map((_, at) => (at === 0 ? fails.permanent : 'done')),
    }),
  ];
  const registry = new Map(kinds.map((kind) => [kind.name, kind]));
  await rig.worker(registry, { WORKER_CONCURRENCY: '4' }, { observers: [broken, watching] });
});
after(() => rig.close());

/** The outcomes of a job's attempts, once so many of them have ended. */
const outcomes = (id: number, count: number) =>
  eventually(() => {
    const ended = (told.get(id) ?? []).filter((each) => 'ended' in each);
    assert.equal(ended.length, count);
    // The next attempt may be done before the end of this one is told.
    return ended.toSorted((a, b) => a.ended - b.ended).map(({ outcome }) => outcome);
  });

test('each attempt begins and ends once; an observer that throws harms neither the job nor the others', async () => {
  const [done, committed] = [await add(rig.db, 'media', 'done'), await add(rig.db, 'media', 'committed')];
  for (const id of [done, committed]) {
    assert.deepEqual(await outcomes(id, 1), [{ outcome: 'completed' }]);
    assert.deepEqual(
      told.get(id)!.map((each) => ('started' in each ? each.started : each.ended)),
      [1, 1],
    );
    await reads(rig.db, id, { status: 'completed' });
  }
});

test('it is told what was written: a retry, a snooze, a dead letter, a job that was cancelled', async () => {
  const [flaky, cancelled] = [await add(rig.db, 'media', 'flaky'), await add(rig.db, 'media', 'slow')];
  await reads(rig.db, cancelled, { status: 'processing' });
  await rig.db.query(`update media_jobs set status = 'cancelled' where id = $1`, [cancelled]);
  const [first, ...others] = await outcomes(flaky, 3);
  assert.match('at' in first! ? first.at : '', /observer\.test\.ts/);
  assert.deepEqual(
    { ...first, at: '' },
    {
      outcome: 'retry',
      error_code: 'unexpected_error',
      status: 'pending',
      retry_count: 1,
      at: '',
    },
  );
  assert.deepEqual(others, [
    { outcome: 'snooze', delay_ms: 0, reason: 'not yet' },
    { outcome: 'fail', error_code: 'no_such_thing', status: 'failed', retry_count: 3 },
  ]);
  assert.deepEqual(await outcomes(cancelled, 1), [{ outcome: 'dropped', reason: 'the job was cancelled or changed' }]);
});

test('of a batch it is told each job', async () => {
  const { rows } = await rig.db.query<{ id: number }>(
    `insert into notification_jobs (kind) select 'batch' from generate_series(1, 3) returning id`,
  );
  const ended = await Promise.all(rows.map(({ id }) => outcomes(id, 1)));
  assert.deepEqual(
    ended.map(([one]) => one!.outcome),
    ['fail', 'completed', 'completed'],
  );
});

test('a job has waited since it was due, or since it was inserted where that was later', async () => {
  const waited = async (columns: string) => {
    const { rows } = await rig.db.query<{ id: number }>(
      `insert into media_jobs (kind, created_at, run_at) values ('done', ${columns}) returning id`,
    );
    await outcomes(rows[0]!.id, 1);
    const [first] = told.get(rows[0]!.id)!;
    return 'started' in first! ? first.waited_ms : NaN;
  };
  const minute = 60_000;
  const due = await waited(`now() - interval '1 day', now() - interval '1 hour'`);
  assert.ok(due >= 60 * minute && due < 61 * minute, `${due} ms`);
  const late = await waited(`now(), now() - interval '1 hour'`);
  assert.ok(late >= 0 && late < minute, `${late} ms`);
  assert.equal(await waited(`'-infinity', '-infinity'`), 0);
  assert.equal(await waited(`now() + interval '1 hour', now()`), 0);
});
