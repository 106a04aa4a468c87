import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { PermanentError, RetryableError, Snooze } from '../../worker/base/errors.ts';
import { job } from '../../worker/queue/job.ts';
import { eventually } from '../support/eventually.ts';
import { createRig, type Rig } from '../support/worker.ts';

// The queries that users of the media publishing worker have in their dashboards, word for word, on a table with every
// sort of failure.

const queries = {
  pending: `SELECT COUNT(*) FROM publish_jobs WHERE status = 'pending';`,
  attention: `SELECT * FROM publish_jobs WHERE status = 'failed' AND retry_count >= max_retries;`,
  average: `SELECT AVG(EXTRACT(EPOCH FROM (completed_at - started_at))) AS avg_seconds FROM publish_jobs
 WHERE status = 'completed' AND completed_at > NOW() - INTERVAL '1 hour';`,
  files: `SELECT publish_status, COUNT(*) FROM auction_files WHERE deleted_at IS NULL GROUP BY publish_status;`,
  again: `UPDATE publish_jobs SET max_retries = 10 WHERE status = 'failed';`,
  clean: `DELETE FROM publish_jobs WHERE status = 'completed' AND completed_at < NOW() - INTERVAL '90 days';`,
};

let rig: Rig;
let fixed = false;
const sql = async (text: string, values: unknown[] = []) =>
  (await rig.db.query<Record<string, any>>(text, values)).rows;
const dead = new PermanentError('raid_not_found', 'It is not there');

const payload = z.object({ how: z.string() });
const kinds = [
  job({
    name: 'publish.file',
    payload,
    timeout: 300,
    async run({ payload: { how }, signal, commit }) {
      if (fixed || how === 'fine') return null;
      if (how === 'permanent') throw dead;
      if (how === 'permanent in its transaction') return commit(() => Promise.reject(dead));
      if (how === 'retryable') throw new RetryableError('raid_unavailable', 'It is down');
      if (how === 'snooze') throw new Snooze(0, 'wait');
      if (how === 'large') return 'x'.repeat(2_000_000);
      if (how === 'late') await sleep(60_000, undefined, { signal });
      throw new Error(how);
    },
  }),
  job({
    name: 'publish.batch',
    payload,
    batchSize: 10,
    runBatch: async (jobs) => jobs.map(() => (fixed ? null : dead)),
  }),
];
/** What goes wrong, and the code of it. */
const failures: [kind: string, how: unknown, code: string][] = [
  ['file', 'permanent', 'raid_not_found'],
  ['file', 'permanent in its transaction', 'raid_not_found'],
  ['file', 'retryable', 'raid_unavailable'],
  ['file', 'snooze', 'snoozed_too_long'],
  ['file', 'large', 'result_too_large'],
  ['file', 'late', 'timeout'],
  ['file', 'a bug', 'unexpected_error'],
  ['file', 42, 'invalid_payload'],
  ['batch', 'permanent', 'raid_not_found'],
  ['batch', ['permanent'], 'invalid_payload'],
  ['flie', 'unknown', 'unknown_kind'],
];

before(async () => {
  rig = await createRig();
  await sql(`update queues set backoff_ms = 20, max_retries = 2, snooze_limit = '500 ms'`);
});
after(() => rig.close());

test('the second shows every dead letter, and the fifth runs them again', async () => {
  const add = async (kind: string, how: unknown) =>
    sql(
      `with file as (insert into auction_files (source_key) values ($2) returning id)
       insert into publish_jobs (kind, file_id, payload) select $1, id, jsonb_build_object('how', $3::jsonb) from file`,
      [kind, `${kind} ${JSON.stringify(how)}`, JSON.stringify(how)],
    );
  for (const [kind, how] of failures) await add(kind, how);
  // What its worker left behind when it died, and what a person called failed.
  await sql(`insert into publish_jobs (kind, payload, status, max_retries, locked_by)
             values ('file', '{"how": "lost"}', 'processing', 0, gen_random_uuid())`);
  await sql(`insert into publish_jobs (kind, payload, status) values ('file', '{"how": "fine"}', 'failed')`);
  await sql(
    `insert into publish_jobs (kind, payload, run_at) values ('file', '{"how": "fine"}', now() + interval '1 day')`,
  );
  await sql(`update publish_jobs set status = 'failed' where run_at > now()`);
  await add('file', 'fine');
  await rig.worker(new Map(kinds.map((kind) => [kind.name, kind])), { QUEUES: 'publish' });

  const expected = [...failures.map(([, , code]) => code), 'worker_lost', 'null', 'null'].toSorted();
  const codes = (rows: Record<string, any>[]) => rows.map(({ error_code }) => String(error_code)).toSorted();
  await eventually(async () => assert.deepEqual(codes(await sql(`select * from dead_letters`)), expected));
  assert.deepEqual(codes(await sql(queries.attention)), expected);
  await eventually(async () => assert.deepEqual(await sql(queries.pending), [{ count: 0 }]));
  assert.ok(Number((await sql(queries.average))[0]!['avg_seconds']) < 60);
  assert.deepEqual(
    (await sql(queries.files)).toSorted((a, b) => a['count'] - b['count']),
    [
      { publish_status: 'published', count: 1 },
      { publish_status: 'failed', count: failures.length },
    ],
  );

  fixed = true;
  await sql(queries.again);
  await eventually(async () => {
    const left = codes(await sql(queries.attention));
    assert.deepEqual(left, ['invalid_payload', 'invalid_payload', 'unknown_kind']);
    assert.deepEqual(await sql(`select id from publish_jobs where status in ('pending', 'processing')`), []);
  });
  assert.deepEqual(await sql(`select distinct retry_count from publish_jobs where status = 'failed'`), [
    { retry_count: 10 },
  ]);
  await sql(`update publish_jobs set completed_at = now() - interval '91 days' where status = 'completed'`);
  await sql(queries.clean);
  assert.deepEqual(await sql(`select status, count(*) from publish_jobs group by status`), [
    { status: 'failed', count: 3 },
  ]);
});
