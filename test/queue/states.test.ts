import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { Ledger } from '../../worker/queue/run/ledger.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { commands } from './states-commands.ts';
import { queues, type Command, type Real } from './states-hand.ts';
import { follow, type Model, type ModelJob } from './states-model.ts';

// The life of a job, told twice: by a small model, and by the SQL of the ledger, the triggers and the archiver.
// Whatever happens to the rows in whatever order, both must tell the same. When they do not, fast-check gives the
// shortest tale it finds, and its seed.

const runs = Number(process.env['TEST_RUNS'] ?? 100);

let db: TestDatabase;
let real: Real;
const ended = new AbortController();

before(async () => {
  db = await createDatabase();
  await db.query(`update queues set backoff_ms = 0, batch_size = 2 where name = any($1)`, [queues]);
  const workers = [randomUUID(), randomUUID()].map((id) => ({
    id,
    ledger: new Ledger({
      db,
      claims: db,
      schema: 'public',
      path: 'public',
      queue: 'media',
      worker: () => id,
      signal: ended.signal,
    }),
  }));
  for (const { id } of workers)
    await db.query(`insert into workers (id, host, pid, version, queues) values ($1, 'here', 1, '0', '{media}')`, [id]);
  const files = (await db.query<{ id: string }>(`insert into media default values returning id`)).rows;
  files.push(...(await db.query<{ id: string }>(`insert into media default values returning id`)).rows);
  const { rows } = await db.query<{ version: number }>(
    `select current_setting('server_version_num')::int / 10000 as version`,
  );
  real = { db, workers, files: files.map(({ id }) => id), version: rows[0]!.version };
});
after(async () => {
  ended.abort();
  await db.drop();
});

test('whatever happens to jobs, their rows, errors and tickets are what the model says', async () => {
  const tale = fc.commands(
    commands.map((command) => command.map(checked)),
    { maxCommands: 40, size: 'max' },
  );
  await fc.assert(
    fc.asyncProperty(tale, async (told) => {
      await db.query(
        `delete from jobs; delete from job_keys; delete from job_errors; delete from rowmill_tickets._private_jobs;
         update media set status = 'PENDING'`,
      );
      const files = Object.fromEntries(real.files.map((id) => [id, 'PENDING']));
      await fc.asyncModelRun(() => ({ model: { jobs: [], files } as Model, real }), told);
    }),
    { numRuns: runs },
  );
});

/** The command, and then a look whether both agree. */
function checked(command: Command): Command {
  return {
    check: (model) => command.check(model),
    toString: () => command.toString(),
    async run(model, on) {
      const was = structuredClone(model.jobs);
      await command.run(model, on);
      followAll(model, was);
      await agree(model);
    },
  };
}

/**
 * The files of all jobs that were changed. What is written into the archive, or deleted when it was done with, changes
 * no file.
 */
function followAll(model: Model, was: ModelJob[]): void {
  const touched = new Set<string | null>();
  for (const job of model.jobs) {
    const old = was.find(({ id }) => id === job.id);
    if (
      old ? old.status !== job.status || old.file_id !== job.file_id || (old.archived && !job.archived) : !job.archived
    )
      touched.add(job.file_id).add(old?.file_id ?? null);
  }
  for (const old of was)
    if (['pending', 'processing', 'failed'].includes(old.status) && !model.jobs.some(({ id }) => id === old.id))
      touched.add(old.file_id);
  for (const file of touched) if (file !== null) follow(model, file);
}

type RowNow = ModelJob & { ticketed: boolean; keyed: boolean; whole: boolean };

const flagsOf = (row?: RowNow) => ({ ticketed: row?.ticketed, keyed: row?.keyed, whole: row?.whole });

async function agree({ jobs, files }: Model): Promise<void> {
  const { rows } = await db.query<RowNow>(`
    select id, queue, status, archived, run_at <= clock_timestamp() as due,
           coalesce(expires_at <= clock_timestamp(), false) as expired,
           attempt, retry_count, max_retries, priority, error_code,
           (result ->> 'attempt')::integer as result, locked_by, dedupe_key, file_id,
           coalesce((select jsonb_object_agg(e.attempt, e.error_code)
                       from job_errors e where e.job_id = j.id), '{}') as errors,
           exists (select from rowmill_tickets.jobs t join rowmill_tickets._private_jobs p using (id)
                    where t.task_identifier = j.queue and p.payload::jsonb -> 'ids' @> to_jsonb(j.id)
                      and p.run_at = j.run_at and p.priority = j.priority) as ticketed,
           exists (select from job_keys k where k.queue = j.queue and k.dedupe_key = j.dedupe_key) as keyed,
           (completed_at is not null) = (status in ('completed', 'failed', 'cancelled'))
             and (status <> 'pending' or progress is null) as whole
      from jobs j order by id`);
  assert.deepEqual(
    rows,
    jobs.map((job, index) => ({ ...job, ...flagsOf(rows[index]) })),
  );
  for (const { id, status, dedupe_key, ticketed, keyed, whole } of rows) {
    assert.ok(status !== 'pending' || ticketed, `job ${id} is pending and has no ticket at its run_at and priority`);
    assert.ok(dedupe_key === null || keyed, `nobody holds the key of job ${id}`);
    assert.ok(whole, `the row of job ${id} is not whole`);
  }
  const media = await db.query<{ id: string; status: string }>('select id, status from media');
  assert.deepEqual(Object.fromEntries(media.rows.map(({ id, status }) => [id, status])), files);
}
