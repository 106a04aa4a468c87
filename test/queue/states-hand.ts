import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Ledger } from '../../worker/queue/run/ledger.ts';
import type { TestDatabase } from '../support/database.ts';
import * as model from './states-model.ts';
import type { Model, ModelJob, Status } from './states-model.ts';

/** What people write on rows of jobs, each done to the model and to Postgres. */

export type Real = { db: TestDatabase; workers: { id: string; ledger: Ledger }[]; files: string[]; version: number };
export type Command = fc.AsyncCommand<Model, Real>;

/** The workers of the tale run the first; people write on both. */
export const queues = ['media', 'social'];

/** From 0 to 1, 1 excluded. */
export const point = fc.nat(99).map((n) => n / 100);

const mostly = <T>(usual: T, ...others: T[]) => fc.constantFrom(...Array<T>(others.length + 1).fill(usual), ...others);

const inserted: fc.Arbitrary<Command> = fc
  .record({
    n: fc.integer({ min: 1, max: 3 }),
    through: fc.constantFrom('jobs', 'own'),
    queue: mostly('media', 'social'),
    status: mostly<Status>('pending', 'processing', 'completed', 'failed', 'cancelled'),
    archived: fc.boolean(),
    due: mostly(true, false),
    expired: mostly(false, true),
    max_retries: fc.integer({ min: 0, max: 2 }),
    priority: fc.integer({ min: -1, max: 1 }),
    result: mostly(null, 77),
    locked: mostly(false, true),
    dedupe_key: mostly(null, 'a', 'b'),
    file: mostly(0, 1, -1),
  })
  .map((of) => ({
    check: ({ jobs }) => jobs.length < 5,
    toString: () => `insert(${JSON.stringify(of)})`,
    async run({ jobs }, { db, workers, files }) {
      const { queue, status, due, expired, max_retries, priority, result } = of;
      const archived = of.archived && (status === 'completed' || status === 'cancelled');
      const file_id = (queue === 'media' && files[of.file]) || null;
      const taken = jobs.some((job) => job.queue === queue && job.dedupe_key === of.dedupe_key);
      // What is written into the archive is not asked for its key.
      const dedupe_key = archived && (taken || of.n > 1) ? null : of.dedupe_key;
      const { rows } = await db.query<{ id: number }>(
        `insert into ${of.through === 'jobs' ? 'jobs' : `${queue}_jobs`}
                (queue, kind, run_at, max_retries, priority, status, archived, result, progress,
                 locked_by, completed_at, dedupe_key, file_id, expires_at)
         select $1, 'model', now() + $2::interval, $3, $4, $5, $6, jsonb_build_object('attempt', $7::int), $7::int,
                $8, $9, $10, $11, now() + $13::interval
           from generate_series(1, $12) returning id`,
        [
          queue,
          due ? '-1 hour' : '1 hour',
          max_retries,
          priority,
          status,
          archived,
          result,
          of.locked ? workers[0]!.id : null,
          of.locked ? new Date() : null,
          dedupe_key,
          file_id,
          of.n,
          expired ? '-1 minute' : null,
        ],
      );
      assert.equal(rows.length, dedupe_key === null ? of.n : taken ? 0 : 1);
      for (const { id } of rows)
        jobs.push(
          model.inserted(id, {
            queue,
            status,
            archived,
            due,
            expired,
            max_retries,
            retry_count: status === 'failed' ? max_retries : 0,
            priority,
            dedupe_key,
            file_id,
            result: status === 'pending' ? null : result,
            locked_by: status === 'processing' && of.locked ? workers[0]!.id : null,
          }),
        );
    },
  }));

/** One job, or all that the table holds. */
function write(
  name: string,
  set: string | ((real: Real) => string),
  apply: (job: ModelJob, real: Real) => void,
  which: (job: ModelJob) => boolean = () => true,
): fc.Arbitrary<Command> {
  return fc
    .tuple(point, fc.constantFrom('jobs', ...queues.map((queue) => `${queue}_jobs`)), fc.constantFrom(...forms))
    .map(([pick, table, form]) => {
      const among = ({ jobs }: Model) =>
        jobs.filter((job) => (table === 'jobs' || table === `${job.queue}_jobs`) && which(job));
      return {
        check: (all) => among(all).length > 0,
        toString: () => `${name}(${pick.toFixed(2)}, ${table}, ${form})`,
        async run(all, real) {
          const jobs = among(all);
          const some = pick >= 0.8 ? jobs : [jobs[Math.floor((pick / 0.8) * jobs.length)]!];
          const sql = typeof set === 'string' ? set : set(real);
          const ids = some.map(({ id }) => id);
          await real.db.query(statement(form, table, sql, ids, { ...real, moves: some.some((job) => job.archived) }));
          for (const job of some) apply(job, real);
        },
      };
    });
}

const forms = ['update', 'update', 'after a savepoint', 'each by its own part', 'merge'] as const;

function statement(
  form: (typeof forms)[number],
  table: string,
  set: string,
  ids: number[],
  { version, moves }: { version: number; moves: boolean },
): string {
  const update = (some: number[]) => `update ${table} set ${set} where id = any('{${some.join()}}')`;
  if (form === 'after a savepoint')
    return `begin; savepoint before; delete from ${table}; rollback to before; ${update(ids)}; commit`;
  if (form === 'each by its own part' && ids.length > 1)
    return `with one as (${update(ids.slice(1))}) ${update(ids.slice(0, 1))}`;
  // Postgres tells no trigger of rows that a MERGE moves between partitions.
  if (form === 'merge' && version >= 15 && !moves)
    return `merge into ${table} j using unnest('{${ids.join()}}'::bigint[]) as c (id) on j.id = c.id
            when matched then update set ${set}`;
  return update(ids);
}

const setPending = write(`set pending`, `status = 'pending', archived = false`, (job) =>
  Object.assign(job, model.setStatus(job, 'pending'), { archived: false }),
);

export const byHand: fc.Arbitrary<Command>[] = [
  inserted,
  inserted,
  setPending,
  setPending,
  write(
    'cancel',
    `status = 'cancelled'`,
    (job) => model.setStatus(job, 'cancelled'),
    ({ status }) => status !== 'completed',
  ),
  write('complete', `status = 'completed', completed_at = null`, (job) => model.setStatus(job, 'completed')),
  write('make failed', `status = 'failed', archived = false`, (job) =>
    Object.assign(job, model.setStatus(job, 'failed'), { archived: false }),
  ),
  write('make processing', `status = 'processing', archived = false, locked_by = null`, (job) =>
    Object.assign(job, model.setStatus(job, 'processing'), { archived: false }),
  ),
  write(
    'give to a worker',
    ({ workers }) => `status = 'processing', locked_by = '${workers[1]!.id}'`,
    (job, { workers }) => model.setStatus(job, 'processing', workers[1]!.id),
    (job) => !job.archived,
  ),
  write(
    'move to the archive',
    'archived = true',
    (job) => (job.archived = true),
    ({ status }) => status === 'completed' || status === 'cancelled',
  ),
  write('take out of the archive', 'archived = false', (job) => (job.archived = false)),
  write('raise max_retries', 'max_retries = max_retries + 1', (job) => model.raiseMaxRetries(job, 1)),
  write('raise max_retries for later', `max_retries = max_retries + 1, run_at = now() + interval '1 hour'`, (job) => {
    model.raiseMaxRetries(job, 1);
    job.due = false;
  }),
  write('lower max_retries', 'max_retries = greatest(max_retries - 1, 0)', (job) => {
    job.max_retries = Math.max(job.max_retries - 1, 0);
  }),
  write('forget retries', 'retry_count = 0', (job) => {
    job.retry_count = 0;
    model.spendRetries(job);
  }),
  write('move to later', `run_at = now() + interval '1 hour'`, (job) => (job.due = false)),
  write('move to now', 'run_at = now()', (job) => (job.due = true)),
  write('prioritise', 'priority = -5', (job) => (job.priority = -5)),
  write('change kind', `kind = kind || 'x', payload = '{"a": 1}'`, () => {}),
  ...[0, 1, -1].map((index) =>
    write(
      'give file',
      ({ files }) => `file_id = ${files[index] ? `'${files[index]}'` : 'null'}`,
      (job, { files }) => (job.file_id = files[index] ?? null),
      ({ queue }) => queue === 'media',
    ),
  ),

  ...['jobs', 'leaf'].map((through) =>
    point.map<Command>((pick) => ({
      check: ({ jobs }) => jobs.length > 0,
      toString: () => `delete(${pick.toFixed(2)}, ${through})`,
      async run({ jobs }, { db }) {
        const index = Math.floor(pick * jobs.length);
        const { id, queue, archived } = jobs[index]!;
        const leaf = `${queue}_jobs_${archived ? 'done' : 'live'}`;
        await db.query(`delete from ${through === 'jobs' ? 'jobs' : leaf} where id = $1`, [id]);
        jobs.splice(index, 1);
      },
    })),
  ),
  ...[`do nothing`, `(id, queue, archived) do update set status = 'pending'`].map((conflict) =>
    point.map<Command>((pick) => ({
      check: ({ jobs }) => jobs.some((job) => !job.archived && job.dedupe_key === null),
      toString: () => `insert on conflict(${pick.toFixed(2)}, ${conflict})`,
      async run({ jobs }, { db }) {
        const live = jobs.filter((job) => !job.archived && job.dedupe_key === null);
        const job = live[Math.floor(pick * live.length)]!;
        const key = conflict === 'do nothing' ? 'a' : null;
        await db.query(
          `insert into jobs (id, queue, kind, dedupe_key) values ($1, $2, 'again', $3) on conflict ${conflict}`,
          [job.id, job.queue, key],
        );
        if (key === null) model.setStatus(job, 'pending');
      },
    })),
  ),
  point.map<Command>((pick) => ({
    check: ({ jobs }) => jobs.some((job) => job.archived),
    toString: () => `set pending and forget archived(${pick.toFixed(2)})`,
    async run({ jobs }, { db }) {
      const archived = jobs.filter((job) => job.archived);
      const { id } = archived[Math.floor(pick * archived.length)]!;
      await assert.rejects(
        db.query(`update jobs set status = 'pending' where id = $1`, [id]),
        /is archived and cannot/,
      );
    },
  })),
];
