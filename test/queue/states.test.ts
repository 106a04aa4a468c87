import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { createLedger } from '../../worker/queue/ledger.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { commands, type Command, type Real } from './states-commands.ts';
import type { Model, ModelJob } from './states-model.ts';

// The life of a job, told twice: by a small model, and by the SQL of the ledger, the triggers and the archiver. Whatever happens to
// the rows in whatever order, both must tell the same. When they do not, fast-check gives the shortest tale it finds, and its seed.

let db: TestDatabase;
let real: Real;
const ended = new AbortController();

before(async () => {
  db = await createDatabase();
  await db.query(`update queues set backoff_ms = 0, batch_size = 2 where name = 'media'`);
  const workers = [randomUUID(), randomUUID()].map((id) => ({
    id,
    ledger: createLedger({ db, claims: db }, 'media', () => id, ended.signal),
  }));
  real = { db, workers };
});
after(async () => {
  ended.abort();
  await db.drop();
});

test('whatever happens to jobs, their rows, errors and tickets are what the model says', async () => {
  const tales = fc.commands(
    commands.map((command) => command.map(checked)),
    { maxCommands: 30, size: 'max' },
  );
  await fc.assert(
    fc.asyncProperty(tales, async (tale) => {
      await db.query('delete from jobs; delete from graphile_worker._private_jobs');
      await fc.asyncModelRun(() => ({ model: { jobs: [] } as Model, real }), tale);
    }),
    { numRuns: 100 },
  );
});

/** The command, and then a look whether both agree. */
function checked(command: Command): Command {
  return {
    check: (model) => command.check(model),
    toString: () => command.toString(),
    async run(model, on) {
      await command.run(model, on);
      await agree(model);
    },
  };
}

type RowNow = ModelJob & { ticketed: boolean };

async function agree({ jobs }: Model): Promise<void> {
  const { rows } = await db.query<RowNow>(`
    select id, status, archived, run_at <= clock_timestamp() as due, attempt, retry_count, max_retries, priority, error_code,
           (result -> 'attempt')::integer as result, locked_by,
           coalesce((select jsonb_object_agg(e.attempt, e.error_code) from job_errors e where e.job_id = j.id), '{}') as errors,
           exists (select from graphile_worker._private_jobs t
                    where t.payload::jsonb -> 'ids' @> to_jsonb(j.id) and t.run_at = j.run_at and t.priority = j.priority) as ticketed
      from jobs j order by id`);
  assert.deepEqual(
    rows,
    jobs.map((job, index) => ({ ...job, ticketed: rows[index]?.ticketed })),
  );
  for (const { id, status, ticketed } of rows)
    assert.ok(status !== 'pending' || ticketed, `job ${id} is pending and has no ticket at its run_at and priority`);
}
