import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { Tx } from '../../worker/base/db/db.ts';
import { checkPayload } from '../../worker/queue/payload.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { addSomeJobs, rolledBack, runFile } from '../support/sql-files.ts';

// What the files under sql/ do for the people who run them.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

/** Runs `work` on some jobs of which nothing is kept. */
const onSomeJobs = (work: (tx: Tx) => Promise<void>) => () =>
  rolledBack(db, async (tx) => {
    await addSomeJobs(tx);
    await tx.query(`create temporary table before_it on commit drop as select * from jobs;
                    create temporary table tickets_before on commit drop as select id
                      from rowmill_tickets._private_jobs`);
    await work(tx);
  });

/** The jobs that a file changed: from which status to which, and whether a new ticket names them. */
async function changed(tx: Tx): Promise<string[]> {
  const { rows } = await tx.query<{ change: string }>(`
    with ticketed as (
      select json_array_elements_text(payload -> 'ids')::bigint as id
        from rowmill_tickets._private_jobs where id not in (select id from tickets_before)
    )
    select concat_ws(' ', b.queue, b.status, '->', coalesce(j.status, 'gone'), case
      when j.id in (select id from ticketed) then 'ticket' end) as change
      from before_it b
      left join jobs j on j.id = b.id
     where (j.status, j.run_at, j.priority, j.archived) is distinct from (b.status, b.run_at, b.priority, b.archived)
     order by b.queue, b.id`);
  return rows.map((row) => row.change);
}

async function idOf(tx: Tx, queue: string, status: string, archived = false): Promise<string> {
  const found = await tx.query<{ id: number }>(
    `select id from jobs where queue = $1 and status = $2 and archived = $3 order by id limit 1`,
    [queue, status, archived],
  );
  return String(found.rows[0]!.id);
}

suite('the files that need an id touch nothing as they stand', () => {
  for (const name of [
    'retry_job',
    'cancel_job',
    'reschedule',
    'prioritise',
    'cancel_pending',
    'rerun_archived',
    'dismiss_failed',
  ])
    test(
      name,
      onSomeJobs(async (tx) => {
        await runFile(tx, `operate/${name}.sql`);
        assert.deepEqual(await changed(tx), []);
      }),
    );
});

suite('one job', () => {
  for (const [status, archived] of [
    ['failed', false],
    ['completed', false],
    ['completed', true],
    ['cancelled', true],
  ] as const)
    test(
      `${archived ? 'archived and ' : ''}${status} runs again`,
      onSomeJobs(async (tx) => {
        const id = await idOf(tx, 'media', status, archived);
        const [row] = await runFile(tx, 'operate/retry_job.sql', { 'id = 0': `id = ${id}` });
        assert.equal(String(row!['id']), id);
        assert.deepEqual(await changed(tx), [`media ${status} -> pending ticket`]);
        const { rows } = await tx.query(`select archived, retry_count, completed_at from jobs where id = ${id}`);
        assert.deepEqual(rows, [{ archived: false, retry_count: 0, completed_at: null }]);
      }),
    );

  for (const status of ['pending', 'processing'])
    test(
      `${status} is cancelled, and not run again by a retry`,
      onSomeJobs(async (tx) => {
        const id = await idOf(tx, 'publish', status);
        assert.deepEqual(await runFile(tx, 'operate/retry_job.sql', { 'id = 0': `id = ${id}` }), []);
        await runFile(tx, 'operate/cancel_job.sql', { 'id = 0': `id = ${id}` });
        assert.deepEqual(await changed(tx), [`publish ${status} -> cancelled`]);
      }),
    );

  test(
    'is moved in time and in rank, with a ticket for it',
    onSomeJobs(async (tx) => {
      const id = await idOf(tx, 'media', 'pending');
      await runFile(tx, 'operate/reschedule.sql', { 'id = 0': `id = ${id}` });
      await runFile(tx, 'operate/prioritise.sql', { 'id = 0': `id = ${id}` });
      assert.deepEqual(await changed(tx), ['media pending -> pending ticket']);
    }),
  );

  test(
    'has a history',
    onSomeJobs(async (tx) => {
      const id = await idOf(tx, 'media', 'failed');
      const history = await runFile(tx, 'monitor/job_history.sql', { 'id = 0': `id = ${id}` });
      assert.deepEqual(
        history.map((row) => [row['what'], row['status'], row['error_code']]),
        [
          ['now', 'failed', 'worker_lost'],
          ['attempt 6', 'failed', 'worker_lost'],
        ],
      );
    }),
  );
});

suite('many jobs', () => {
  const cases: [string, Record<string, string>, string[]][] = [
    ['retry_failed', {}, ['publish failed -> pending ticket']],
    ['retry_failed', { publish_jobs: 'jobs' }, ['media failed -> pending ticket', 'publish failed -> pending ticket']],
    ['retry_failed_slowly', { social_jobs: 'media_jobs' }, ['media failed -> pending ticket']],
    ['retry_by_error_code', {}, ['media failed -> pending ticket', 'publish failed -> pending ticket']],
    ['retry_by_error_code', { worker_lost: 'timeout' }, []],
    ['raise_max_retries', {}, ['publish failed -> pending ticket']],
    [
      'cancel_pending',
      { "'notification' and kind = 'no_such_kind'": "'media' and kind = 'image'" },
      ['media pending -> cancelled', 'media pending -> cancelled', 'media pending -> cancelled'],
    ],
    [
      'rerun_archived',
      { '2000-01-01 12:00+00': 'yesterday', '2000-01-01 13:00+00': 'tomorrow' },
      ['media completed -> pending ticket', 'media completed -> pending ticket'],
    ],
    ['dismiss_failed', { no_such_code: 'worker_lost' }, ['media failed -> gone', 'publish failed -> gone']],
    ['delete_old', { '90 days': '0 days' }, ['publish completed -> gone', 'publish completed -> gone']],
  ];
  for (const [name, edits, expected] of cases)
    test(
      `${name}${Object.keys(edits).length > 0 ? `, edited to ${Object.values(edits).join(', ')}` : ''}`,
      onSomeJobs(async (tx) => {
        await runFile(tx, `operate/${name}.sql`, edits);
        assert.deepEqual(await changed(tx), expected);
      }),
    );

  test(
    'files without a job under way are published, once',
    onSomeJobs(async (tx) => {
      await tx.query(`insert into publish_jobs (file_id) values ('00000000-0000-4000-8000-00000000000a')`);
      for (const count of [2, 2]) {
        await runFile(tx, 'enqueue/publish_all_unpublished.sql');
        const { rows } = await tx.query(
          `select count(distinct file_id) as files, count(*) as jobs from publish_jobs where file_id is not null`,
        );
        assert.deepEqual(rows, [{ files: count, jobs: count }]);
      }
    }),
  );
});

test(
  'the notifications that are added have payloads that their kinds know',
  onSomeJobs(async (tx) => {
    await runFile(tx, 'enqueue/notifications.sql');
    const { rows } = await tx.query<{ kind: string; payload: object }>(`select kind, payload from notification_jobs`);
    assert.ok(rows.length >= 8);
    for (const { kind, payload } of rows) {
      const { default: job } = await import(`../../worker/jobs/notification/${kind}.ts`);
      checkPayload(job, payload);
    }
  }),
);

test(
  'the settings that queue_settings.sql shows are those of a new database',
  onSomeJobs(async (tx) => {
    const [installed] = (await tx.query(`select * from queues where name = 'media'`)).rows;
    assert.deepEqual(await runFile(tx, 'operate/queue_settings.sql'), [installed]);
  }),
);
