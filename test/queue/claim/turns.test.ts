import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { showJob } from '../../../worker/queue/client/operate.ts';
import { eventually } from '../../support/eventually.ts';
import { add, reads } from '../../support/jobs.ts';
import { createRig, type Rig } from '../../support/worker.ts';

// A job that waits for a turn, as for memory: its time limit does not run, its place may be another's, and its worker's
// row says so.

let rig: Rig;
/** What the handlers wait for. */
const turns = new Map<string, PromiseWithResolvers<void>>();
const turn = (name: unknown) =>
  turns.get(name as string) ?? turns.set(name as string, Promise.withResolvers()).get(name as string)!;

before(async () => {
  rig = await createRig();
  await rig.db.query(`update queues set timeout_ms = 700, max_retries = 0 where name = 'media'`);
  const handlers = {
    'media.wait': async ({ payload, signal, waiting }) => {
      const { promise, reject } = turn(payload['for']);
      signal.addEventListener('abort', () => reject(signal.reason));
      await waiting('a turn', promise);
      if (payload['sleep']) await sleep(payload['sleep'] as number, undefined, { signal });
    },
    'media.long': async ({ payload, signal, waiting, aside }) => {
      aside();
      const { promise, reject } = turn(payload['for']);
      signal.addEventListener('abort', () => reject(signal.reason));
      await waiting('a turn', promise);
    },
    'media.quick': async () => {},
  } satisfies Parameters<Rig['worker']>[0];
  await rig.worker(handlers, { QUEUES: 'media', WORKER_CONCURRENCY: '1' });
});
after(() => rig.close());

const submit = (kind: string, payload = {}) => add(rig.db, 'media', kind, { payload });

test('the time limit does not run while it waits', async () => {
  const id = await submit('wait', { for: 'limit' });
  await reads(rig.db, id, { status: 'processing' });
  await sleep(1_500);
  turn('limit').resolve();
  await reads(rig.db, id, { status: 'completed' });
});

test('the time limit runs on once its turn has come', async () => {
  turn('late').resolve();
  const id = await submit('wait', { for: 'late', sleep: 30_000 });
  await reads(rig.db, id, { status: 'failed', error_code: 'timeout' });
});

test('it is cancelled while it waits', async () => {
  const id = await submit('wait', { for: 'cancelled' });
  await reads(rig.db, id, { status: 'processing' });
  await rig.db.query(`update jobs set status = 'cancelled' where id = $1`, [id]);
  await assert.rejects(turn('cancelled').promise, { name: 'Stopped' });
});

test('a few long jobs give up their slots to others, and their worker tells what they wait for', async () => {
  const long: number[] = [];
  for (const name of 'abcd') long.push(await submit('long', { for: name }));
  for (const id of long) await reads(rig.db, id, { status: 'processing' });
  await reads(rig.db, await submit('quick'), { status: 'completed' });

  const fifth = await submit('long', { for: 'e' });
  const { run_at, retry_count } = await reads(rig.db, fifth, { status: 'pending', attempt: 1 });
  assert.ok(run_at > new Date(Date.now() + 10_000), 'it comes back later');
  assert.equal(retry_count, 0);
  await reads(rig.db, await submit('quick'), { status: 'completed' });

  await eventually(async () => {
    const { rows } = await rig.db.query<{ job_id: number; waits_for: string }>(
      `select t.job_id, t.waits_for
         from workers w, jsonb_to_recordset(w.waiting) as t (job_id bigint, waits_for text) order by t.job_id`,
    );
    assert.deepEqual(
      rows,
      long.map((id) => ({ job_id: id, waits_for: 'a turn' })),
    );
  }, 15_000);
  assert.match((await showJob(rig.db, long[0]!))!.waits!, /^for a turn since 20/);

  for (const name of 'abcd') turn(name).resolve();
  for (const id of long) await reads(rig.db, id, { status: 'completed' });
  await eventually(async () =>
    assert.deepEqual((await rig.db.query(`select waiting from workers`)).rows[0].waiting, []),
  );
  // The one place is there still, and only one.
  const [first, second] = [await submit('wait', { for: 'first' }), await submit('wait', { for: 'second' })];
  await reads(rig.db, first, { status: 'processing' });
  await sleep(300);
  await reads(rig.db, second, { status: 'pending' });
  turn('first').resolve();
  turn('second').resolve();
  await reads(rig.db, second, { status: 'completed' });
});
