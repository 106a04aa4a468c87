import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { PermanentError, Snooze } from '../../../worker/base/errors.ts';
import { job } from '../../../worker/queue/job.ts';
import { add, reads } from '../../support/jobs.ts';
import { createRig, type Rig } from '../../support/worker.ts';

// How long a job may wait and what it may carry, and what a row says of an error that nobody foresaw.

let rig: Rig;
const sql = async (text: string, values: unknown[] = []) =>
  (await rig.db.query<Record<string, any>>(text, values)).rows;

const any = z.record(z.string(), z.unknown());
const kinds = [
  job({ name: 'media.echo', payload: any, run: async ({ payload }) => payload }),
  job({ name: 'media.size', payload: any, run: async ({ payload }) => ({ length: String(payload['text']).length }) }),
  job({
    name: 'media.snooze',
    payload: any,
    run: async () => {
      throw new Snooze(0, 'Retry-After: 0');
    },
  }),
  job({
    name: 'media.turn',
    payload: any,
    run: async ({ job: { attempt } }) => {
      if (attempt === 1) throw new Snooze(0, 'its turn comes', { bounded: false });
      return null;
    },
  }),
  job({
    name: 'media.wait',
    payload: any,
    run: ({ signal }) => sleep(60_000, undefined, { signal }),
  }),
  job({
    name: 'media.bug',
    payload: any,
    run: async ({ payload }) => {
      try {
        (payload['nothing'] as Buffer).toString();
      } catch (error) {
        throw new Error(`not foreseen: ${'x'.repeat(3_000)}`, { cause: error });
      }
    },
  }),
  job({ name: 'media.big', payload: any, run: async ({ payload }) => 'x'.repeat(Number(payload['length'])) }),
  job({
    name: 'media.big_commit',
    payload: any,
    run: ({ commit }) => commit(async () => 'x'.repeat(1_000_000)),
  }),
  job({
    name: 'media.deep',
    payload: any,
    run: async () => JSON.parse(`${'['.repeat(400_000)}${']'.repeat(400_000)}`) as unknown,
  }),
  job({
    name: 'media.long_words',
    payload: any,
    run: async () => {
      throw new PermanentError('c'.repeat(100), 'w'.repeat(500_000));
    },
  }),
];

before(async () => {
  rig = await createRig();
  await rig.db.query(`update queues set backoff_ms = 50, max_retries = 1`);
  await rig.worker(new Map(kinds.map((kind) => [kind.name, kind])), { QUEUES: 'media' });
});
after(() => rig.close());

test('a job that only snoozes waits longer each time, and fails as snoozed_too_long', async () => {
  await sql(`update queues set snooze_limit = '3 seconds' where name = 'media'`);
  const id = await add(rig.db, 'media', 'snooze');
  const row = await reads(rig.db, id, { status: 'failed', error_code: 'snoozed_too_long', retry_count: 1 });
  assert.match(row['error'], /Retry-After: 0$/);
  assert.ok(row['attempt'] >= 3 && row['attempt'] <= 5, `${row['attempt']} attempts`);

  await sql(`update queues set snooze_limit = default where name = 'media'`);
  const old = await add(rig.db, 'media', 'snooze', { snoozed_since: new Date(Date.now() - 3_600_000) });
  const snoozed = await reads(rig.db, old, { status: 'pending', attempt: 1 });
  const waits = (snoozed['run_at'].getTime() - Date.now()) / 1_000;
  assert.ok(waits > 340 && waits < 370, `after an hour of snoozing it waits ${waits} s`);
  await sql(`update jobs set status = 'failed' where id = $1`, [old]);
  await sql(`update jobs set status = 'pending', run_at = now() + interval '1 day' where id = $1`, [old]);
  await reads(rig.db, old, { status: 'pending', snoozed_since: null });
});

test('a turn that is promised, and a worker that stops, never make a job snooze too long', async () => {
  const long = { snoozed_since: new Date(Date.now() - 30 * 86_400_000) };
  const turn = await add(rig.db, 'media', 'turn', long);
  await reads(rig.db, turn, { status: 'completed', attempt: 2, error_code: null });
  const other = await createRig();
  try {
    const worker = await other.worker(new Map(kinds.map((kind) => [kind.name, kind])), { SHUTDOWN_TIMEOUT: '0' });
    const id = await add(other.db, 'media', 'wait', long);
    await reads(other.db, id, { status: 'processing' });
    await worker.stop();
    await reads(other.db, id, { status: 'pending', retry_count: 0, error_code: null });
  } finally {
    await other.close();
  }
});

test('an error that nobody foresaw leaves its stack, with relative paths and without its words', async () => {
  const id = await add(rig.db, 'media', 'bug', { max_retries: 0 });
  const row = await reads(rig.db, id, { status: 'failed', error_code: 'unexpected_error' });
  assert.equal(row['error'].length, 2_000);
  const [error] = await sql('select stack from job_errors where job_id = $1', [id]);
  assert.match(
    error!['stack'],
    /^at .*\(?test\/queue\/run\/limits\.test\.ts:\d+:\d+\)?\n(.*\n)*caused by TypeError\nat /,
  );
  assert.doesNotMatch(error!['stack'], /file:|foreseen|nothing|\(\//);

  const permanent = await add(rig.db, 'media', 'long_words');
  const { error_code, error: words } = await reads(rig.db, permanent, { status: 'failed' });
  assert.deepEqual([error_code.length, words.length], [60, 2_000]);
  assert.deepEqual(await sql('select stack from job_errors where job_id = $1', [permanent]), [{ stack: null }]);
});

test('a result that a row cannot take is result_too_large, at once', async () => {
  const fits = await add(rig.db, 'media', 'big', { payload: { length: 999_998 } });
  await reads(rig.db, fits, { status: 'completed' });
  for (const [kind, payload] of [
    ['big', { length: 999_999 }],
    ['big', { length: 5_000_000 }],
    ['big_commit', {}],
    ['deep', {}],
  ] as const) {
    const id = await add(rig.db, 'media', kind, { payload });
    await reads(rig.db, id, { status: 'failed', attempt: 1, error_code: 'result_too_large', result: null });
  }
});

test('rows that were written past the limits fail alone, and their neighbours run', async () => {
  const tx = await rig.db.connect();
  await tx.query('begin');
  await tx.query(`alter table media_jobs_live disable trigger job_new`);
  const hostile: [string, string, Record<string, string>][] = [
    // It prints as six times its size.
    ['payload_too_large', `jsonb_build_object('text', repeat(E'\\x01', 11000000))`, {}],
    ['invalid_payload', `(select jsonb_agg(1) from generate_series(1, 100000))`, {}],
    ['cannot_start', `'{}'`, { attempt: '2000000000' }],
  ];
  const ids: [string, number][] = [];
  for (const [code, payload, columns] of hostile) {
    const { rows } = await tx.query<{ id: number }>(
      `insert into jobs (queue, kind, payload, attempt, max_retries)
       values ('media', 'echo', ${payload}, ${columns['attempt'] ?? 0}, 1) returning id`,
    );
    ids.push([code, rows[0]!.id]);
  }
  const neighbours = await tx.query<{ id: number }>(
    `insert into jobs (queue, kind, payload, max_retries)
     select 'media', 'size', jsonb_build_object('text', repeat('x', 80000)), 1 from generate_series(1, 5) returning id`,
  );
  await tx.query(`alter table media_jobs_live enable trigger job_new`);
  await tx.query('commit');
  tx.release();
  for (const { id } of neighbours.rows) await reads(rig.db, id, { status: 'completed' }, 30_000);
  for (const [code, id] of ids) await reads(rig.db, id, { status: 'failed', error_code: code, retry_count: 1 }, 30_000);
});
