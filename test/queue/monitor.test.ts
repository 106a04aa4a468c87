import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { Tx } from '../../worker/base/db/db.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { addSomeDeliveries, addSomeJobs, rolledBack, runFile, sqlFiles } from '../support/sql-files.ts';

// The queries of sql/monitor/: what they answer, and that their time does not grow with the history.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

const root = join(import.meta.dirname, '../..');

/** The plan of a query on tables that look long to the planner. */
async function planOf(tx: Tx, text: string): Promise<string> {
  await tx.query('set local enable_seqscan = off');
  const { rows } = await tx.query<{ 'QUERY PLAN': string }>(`explain (costs off) ${text}`);
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

const onlyLive = [
  'queue_depth',
  'pending_count',
  'failed_needing_attention',
  'dead_letters_by_code',
  'oldest_pending',
  'retry_storms',
  'running_now',
  'workers_alive',
];
const byTime = ['average_processing_time', 'processing_rate', 'error_rate', 'slowest_kinds'];
const byIndex: Record<string, string> = {
  deliveries_sent: 'notification_deliveries_updated_at_idx',
  delivery_failures: 'notification_deliveries_updated_at_idx',
  suppressed: 'notification_deliveries_updated_at_idx',
  deliveries_unknown: 'notification_deliveries_ambiguous_idx',
};

suite('the history costs nothing', () => {
  for (const { path, text } of sqlFiles('sql/monitor')) {
    const name = /(\w+)\.sql$/.exec(path)![1]!;
    if (onlyLive.includes(name))
      test(`${name} leaves the archive out`, () =>
        rolledBack(db, async (tx) => {
          assert.doesNotMatch(await planOf(tx, text), /_jobs_done/);
        }));
    if (byTime.includes(name))
      test(`${name} reads a time's part of the archive by its index`, () =>
        rolledBack(db, async (tx) => {
          const plan = await planOf(tx, text);
          assert.match(plan, /publish_jobs_done_completed_at_idx/);
          assert.doesNotMatch(plan, /Seq Scan on \w+_jobs_done/);
        }));
    if (byIndex[name])
      test(`${name} reads a part of the deliveries by their index`, () =>
        rolledBack(db, async (tx) => {
          const plan = await planOf(tx, text);
          assert.match(plan, new RegExp(byIndex[name]!));
          assert.doesNotMatch(plan, /Seq Scan on (notification_deliveries|notification_jobs)/);
        }));
  }

  test('schedules finds the last job by its id', () =>
    rolledBack(db, async (tx) => {
      const plan = await planOf(tx, 'select * from schedule_status');
      assert.match(plan, /media_jobs_done_pkey/);
      assert.doesNotMatch(plan, /Seq Scan on \w+_jobs_/);
    }));

  test('as in the statements of the documentation that change jobs', () =>
    rolledBack(db, async (tx) => {
      assert.doesNotMatch(
        await planOf(tx, `UPDATE publish_jobs SET max_retries = 10 WHERE status = 'failed'`),
        /_jobs_done/,
      );
      assert.match(
        await planOf(
          tx,
          `DELETE FROM publish_jobs WHERE status = 'completed' AND completed_at < NOW() - INTERVAL '90 days'`,
        ),
        /publish_jobs_done_completed_at_idx/,
      );
    }));
});

const inBoth = (row: Record<string, unknown>) => ['media', 'publish'].map((queue) => ({ queue, ...row }));

const lost = 'Look at the log of the worker and at the memory of its host. Then retry the job.';

const answers: Record<string, Record<string, unknown>[]> = {
  queue_depth: inBoth({ waiting: 1, active: 1, completed: 1, failed: 1, delayed: 2 }),
  pending_count: [{ count: 3 }],
  failed_needing_attention: [{ status: 'failed', retry_count: 5, error_code: 'worker_lost' }],
  average_processing_time: [{ avg_seconds: '2.0000000000000000' }],
  publish_status_summary: [{ publish_status: 'pending', count: 2 }],
  processing_rate: inBoth({ last_minute: 2, last_10_minutes: '0.2', last_hour: '0.0' }),
  error_rate: inBoth({ failed: 2, attempts: 4, percent: '50.0' }),
  errors_by_code: [
    { queue: 'media', error_code: 'timeout', attempts: 1, jobs: 1 },
    { queue: 'media', error_code: 'worker_lost', attempts: 1, jobs: 1 },
    { queue: 'publish', error_code: 'timeout', attempts: 1, jobs: 1 },
    { queue: 'publish', error_code: 'worker_lost', attempts: 1, jobs: 1 },
  ],
  dead_letters_by_code: [
    { dead_queue: 'media.dead', error_code: 'worker_lost', jobs: 1, solution: lost },
    { dead_queue: 'publish.dead', error_code: 'worker_lost', jobs: 1, solution: lost },
  ],
  retry_storms: inBoth({ error_code: 'timeout', jobs: 1, fewest_retries_left: 4 }),
  oldest_pending: inBoth({ due: 1, paused: false, workers: 1 }),
  running_now: inBoth({ host: 'host', attempt: 1 }),
  slowest_kinds: inBoth({ jobs: 2, p50: '2.000', p95: '2.000', max: '2.000' }),
  workers_alive: [{ host: 'host', alive: false, running: 2 }],
  tickets: inBoth({ due: 1, claimed: 0, later: 2 }),
  deliveries_sent: [{ channel: 'email', provider: 'smtp', last_minute: 4, last_10_minutes: '0.4', confirmed: 2 }],
  delivery_failures: [
    { channel: 'email', provider: 'smtp', status: 'failed', error_code: 'invalid_recipient', percent: '16.7' },
    { channel: 'email', provider: 'smtp', status: 'bounced', error_code: 'message_undelivered', percent: '16.7' },
    { channel: 'email', provider: 'smtp', status: 'ambiguous', error_code: 'unknown_outcome', percent: '16.7' },
    { channel: 'sms', provider: null, status: 'failed', error_code: 'template_not_found', percent: '100.0' },
  ],
  deliveries_unknown: [{ provider: 'smtp', message_id: 'welcome-17', error_code: 'unknown_outcome' }],
  suppressed: [
    { channel: 'email', list: '', reason: 'bounced', recipients: 2, skipped_in_channel_last_day: 1 },
    { channel: 'email', list: 'news', reason: 'unsubscribed', recipients: 1, skipped_in_channel_last_day: 1 },
  ],
};

for (const [name, expected] of Object.entries(answers))
  test(`${name} answers for a job of each sort`, () =>
    rolledBack(db, async (tx) => {
      await addSomeJobs(tx);
      await addSomeDeliveries(tx);
      const found = await runFile(tx, `monitor/${name}.sql`);
      const seen = found
        .filter((row) => !('queue' in row) || ['media', 'publish'].includes(row['queue']))
        .map((row) => Object.fromEntries(Object.keys(expected[0]!).map((key) => [key, row[key]])));
      assert.deepEqual(seen, expected);
    }));

test('workers_alive sees that a worker holds its lock', () =>
  rolledBack(db, async (tx) => {
    await addSomeJobs(tx);
    await tx.query(`select pg_advisory_xact_lock(hashtextextended(id::text, 0)) from workers`);
    assert.equal((await runFile(tx, 'monitor/workers_alive.sql'))[0]!['alive'], true);
  }));

test('long_transactions shows who keeps a snapshot', () =>
  rolledBack(db, async (tx) => {
    await tx.query(`set transaction isolation level repeatable read`);
    await tx.query(`select 1`);
    await rolledBack(db, async (other) => {
      const found = await runFile(other, 'monitor/long_transactions.sql');
      const { rows } = await tx.query<{ pid: number }>(`select pg_backend_pid() as pid`);
      assert.equal(found.filter((row) => row['held_by'] === `session ${rows[0]!.pid}`).length, 1);
    });
  }));

test('the queries of the media publishing worker are here word for word', () => {
  const asWritten = {
    pending_count: `SELECT COUNT(*) FROM publish_jobs WHERE status = 'pending';`,
    failed_needing_attention: `SELECT * FROM publish_jobs\nWHERE status = 'failed' AND retry_count >= max_retries;`,
    average_processing_time: `SELECT AVG(EXTRACT(EPOCH FROM (completed_at - started_at))) as avg_seconds
FROM publish_jobs
WHERE status = 'completed' AND completed_at > NOW() - INTERVAL '1 hour';`,
    publish_status_summary:
      'SELECT publish_status, COUNT(*)\nFROM auction_files\nWHERE deleted_at IS NULL\nGROUP BY publish_status;',
  };
  for (const [name, text] of Object.entries(asWritten))
    assert.ok(readFileSync(join(root, `sql/monitor/${name}.sql`), 'utf8').endsWith(`${text}\n`), name);
});
