import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setByIndex } from '../../../worker/base/db/by-index.ts';
import { bind } from '../../../worker/base/db/sql.ts';
import { eventually } from '../../support/eventually.ts';
import { add, reads } from '../../support/jobs.ts';
import type { PlanNode } from '../../support/plans.ts';
import { rolledBack } from '../../support/sql-files.ts';
import { statementOf } from '../../support/statement.ts';
import { createRig, type Rig } from '../../support/worker.ts';

// However many tickets wait, a claim reads a few pages of them, also on versions of Postgres without skip scans (before
// 18). The tickets are those of jobs that were inserted one by one.

const waiting = 20_000;
const mostPages = 60;

let rig: Rig;
before(async () => {
  rig = await createRig();
});
after(() => rig.close());

const cases = {
  'due later, and more urgent': `'analytics', now() + n * interval '1 minute', -1`,
  'due, and less urgent': `'analytics', now() - interval '1 hour', 1`,
  'in another queue, which is paused': `'social', now() - interval '1 hour', 0`,
};

const statements = [
  ['worker/queue/claim/graphile-pool.sql', 'claim_ticket', { task: 'task', pool: `'pool'` }],
  ['worker/queue/claim/due-tickets.sql', 'due_tickets', { queues: `'{analytics}'` }],
] as const;

for (const [name, ticket] of Object.entries(cases))
  test(`a claim reads few pages while many tickets wait: ${name}`, () =>
    rolledBack(rig.db, async (tx) => {
      // What other cases have rolled back is not in the way.
      await tx.query('truncate rowmill_tickets._private_jobs');
      await tx.query(setByIndex.replaceAll('set ', 'set local '));
      await tx.query(
        `insert into rowmill_tickets._private_jobs (task_id, payload, run_at, max_attempts, priority)
         select t.id, '{"ids": []}', w.run_at, 32767, w.priority
           from generate_series(1, $1) n, lateral (values (${ticket})) w (queue, run_at, priority)
           join rowmill_tickets._private_tasks t on t.identifier = w.queue`,
        [waiting],
      );
      const { rows: tasks } = await tx.query(
        `insert into rowmill_tickets._private_jobs (task_id, payload, run_at, max_attempts)
         select id, '{"ids": []}', now(), 32767 from rowmill_tickets._private_tasks where identifier = 'analytics'
         returning task_id`,
      );
      const task = String(tasks[0].task_id);
      for (const [file, statement, given] of statements) {
        const { text, params } = bind(statementOf(file, statement), { tickets: 'rowmill_tickets' });
        const values: Record<string, string> = { ...given, task };
        const filled = text.replace(/\$(\d)/g, (_, index: string) => values[params[Number(index) - 1]!]!);
        const { rows } = await tx.query(`explain (analyze, buffers, format json) ${filled}`);
        const plan = rows[0]['QUERY PLAN'][0].Plan as PlanNode;
        const pages = Number(plan['Shared Hit Blocks']) + Number(plan['Shared Read Blocks']);
        if (statement === 'claim_ticket') assert.equal(plan['Actual Rows'], 1, 'it has claimed what is due');
        assert.ok(pages < mostPages, `${statement} read ${pages} pages`);
      }
    }));

test('graphile-worker claims by our statement', async () => {
  const held = Promise.withResolvers<void>();
  await rig.worker({ 'media.echo': () => held.promise }, { QUEUES: 'media' });
  const id = await add(rig.db, 'media', 'echo');
  // While the job runs, the claim of its ticket is the last that the connection was asked.
  await eventually(async () => {
    const { rows } = await rig.db.query(
      `select count(*) filter (where query like 'with recursive firsts%') > 0 as ours,
              count(*) filter (where query like '%_private_job_queues%') as theirs
         from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    );
    assert.deepEqual(rows, [{ ours: true, theirs: 0 }]);
  });
  held.resolve();
  await reads(rig.db, id, { status: 'completed' });
});
