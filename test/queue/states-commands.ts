import assert from 'node:assert/strict';
import fc from 'fast-check';
import { transaction } from '../../worker/base/db.ts';
import { failLost, type Ledger } from '../../worker/queue/ledger.ts';
import * as upkeep from '../../worker/queue/upkeep.ts';
import type { TestDatabase } from '../support/database.ts';
import * as model from './states-model.ts';
import type { Claim, Model, ModelJob } from './states-model.ts';

/** Everything that can happen to a row, each done to the model and to Postgres. */

export type Real = { db: TestDatabase; workers: { id: string; ledger: Ledger }[] };
export type Command = fc.AsyncCommand<Model, Real>;

/** From 0 to 1, 1 excluded. */
const point = fc.nat(99).map((n) => n / 100);
/** Not all are right: an attempt of before or after, or of another worker. */
const claim = fc.record({
  job: point,
  late: fc.constantFrom(0, 0, -1, 1),
  stranger: fc.constantFrom(false, false, false, true),
});
type ClaimOf = typeof claim extends fc.Arbitrary<infer Value> ? Value : never;

const insert: fc.Arbitrary<Command> = fc
  .record({
    n: fc.integer({ min: 1, max: 3 }),
    into: fc.constantFrom('jobs', 'media_jobs'),
    due: fc.constantFrom(true, true, true, false),
    max_retries: fc.integer({ min: 0, max: 2 }),
    priority: fc.integer({ min: -1, max: 1 }),
  })
  .map((of) => ({
    check: ({ jobs }) => jobs.length < 5,
    toString: () => `insert(${JSON.stringify(of)})`,
    async run({ jobs }, { db }) {
      const { rows } = await db.query<{ id: number }>(
        `insert into ${of.into} (queue, kind, run_at, max_retries, priority)
           select 'media', 'model', now() + $2::interval, $3, $4 from generate_series(1, $1) returning id`,
        [of.n, of.due ? '-1 hour' : '1 hour', of.max_retries, of.priority],
      );
      for (const { id } of rows) jobs.push(model.inserted(id, of));
    },
  }));

const claimed: fc.Arbitrary<Command> = fc.record({ ticket: point, worker: fc.nat(1) }).map(({ ticket, worker }) => ({
  check: () => true,
  toString: () => `claim(ticket ${ticket.toFixed(2)}, worker ${worker})`,
  async run({ jobs }, real) {
    const ids = await claimTicket(real, ticket);
    const { id, ledger } = real.workers[worker]!;
    const started = (await ledger.start(ids)).map((row) => row.id);
    const expected = jobs.filter((job) => ids.includes(job.id) && model.start(job, id)).map((job) => job.id);
    assert.deepEqual(
      started.toSorted((a, b) => a - b),
      expected,
    );
  },
}));

const endings: fc.Arbitrary<Command>[] = [
  fenced('complete', fc.constantFrom('coalesced', 'transaction', 'unheld'), {
    expected: (job, by) => model.complete(job, by),
    async done({ db }, ledger, job, how) {
      const result = { attempt: job.attempt };
      if (how === 'coalesced') return ledger.complete({ ...job, result: JSON.stringify(result) });
      return transaction(db, async (tx) => {
        // A statement that is not preceded by a hold is fenced all the same.
        if (how === 'transaction' && !(await ledger.holdIn(tx, job))) return false;
        await ledger.completeIn(tx, job, result);
        return how === 'transaction' || undefined;
      });
    },
  }),
  fenced('fail', fc.boolean(), {
    expected: (job, by, permanent) => model.fail(job, by, 'broken', permanent),
    done: async (_, ledger, job, permanent) =>
      (await ledger.fail({ ...job, error_code: 'broken', error: 'as planned', permanent })) !== undefined,
  }),
  fenced('snooze', fc.boolean(), {
    expected: (job, by, due) => model.snooze(job, by, due),
    done: async (_, ledger, job, due) => (await ledger.snooze({ ...job, delay_ms: due ? 0 : 3_600_000 })) !== undefined,
  }),
  fenced('bury', fc.constant(null), {
    expected: (job, by) => model.fail(job, by, 'worker_lost', false),
    done: ({ db }, _, job, __, worker) => failLost(db, 'media', worker, [job]),
  }),
];

const control: fc.Arbitrary<Command>[] = [
  bySql('set pending', `status = 'pending', archived = false`, model.setPending),
  bySql('cancel', `status = 'cancelled'`, model.cancel),
  bySql('raise max_retries', 'max_retries = max_retries + 1', (job) => model.raiseMaxRetries(job, 1)),
  bySql('lower max_retries', 'max_retries = greatest(max_retries - 1, 0)', (job) => {
    job.max_retries = Math.max(job.max_retries - 1, 0);
  }),
  bySql('move to later', `run_at = now() + interval '1 hour'`, (job) => (job.due = false)),
  bySql('move to now', 'run_at = now()', (job) => (job.due = true)),
  bySql('prioritise', 'priority = -5', (job) => (job.priority = -5)),

  point.map((pick) => ({
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
  fc.constant<Command>({
    check: ({ jobs }) => jobs.length > 0,
    toString: () => 'look what was taken',
    async run({ jobs }, { workers }) {
      for (const { id: worker, ledger } of workers) {
        const believed = jobs.map(({ id, attempt }) => ({ id, attempt }));
        const taken = (await ledger.taken(believed)).map(({ id }) => id);
        const expected = jobs.filter((job) => job.status !== 'processing' || job.locked_by !== worker);
        assert.deepEqual(
          taken.toSorted((a, b) => a - b),
          expected.map(({ id }) => id),
        );
      }
    },
  }),
  fc.constant<Command>({
    check: () => true,
    toString: () => 'archive',
    async run({ jobs }, { db }) {
      await db.query(`update jobs set completed_at = now() - interval '1 minute' where completed_at is not null`);
      await transaction(db, (tx) => upkeep.archive(tx, 'media'));
      for (const job of jobs) model.archive(job);
    },
  }),
];

/** Some more often than others, so that there is mostly something that runs. */
export const commands = [insert, claimed, claimed, claimed, claimed, ...endings, ...endings, ...endings, ...control];

type FencedWrite<With> = {
  expected(job: ModelJob, by: Claim, how: With): boolean;
  /** @returns whether it changed the row, where it says so */
  done(
    real: Real,
    ledger: Ledger,
    job: { id: number; attempt: number },
    how: With,
    worker: string,
  ): Promise<boolean | void>;
};

/** What ends an attempt, by whoever believes to run it. */
function fenced<With>(name: string, how: fc.Arbitrary<With>, write: FencedWrite<With>): fc.Arbitrary<Command> {
  return fc.tuple(claim, how).map(([of, variant]) => ({
    check: ({ jobs }) => jobs.length > 0,
    toString: () => `${name}(${JSON.stringify({ ...of, how: variant })})`,
    async run({ jobs }, real) {
      const job = chosen(jobs, of);
      const right = real.workers.findIndex(({ id }) => id === job.locked_by);
      const worker = real.workers[of.stranger ? 1 - Math.max(right, 0) : Math.max(right, 0)]!;
      const by = { attempt: job.attempt + of.late, worker: worker.id };
      const done = await write.done(real, worker.ledger, { id: job.id, attempt: by.attempt }, variant, worker.id);
      const expected = write.expected(job, by, variant);
      if (done !== undefined) assert.equal(done, expected);
    },
  }));
}

/** One that runs, where there is one and the claim may be right: there most goes wrong. */
function chosen(jobs: ModelJob[], { job }: ClaimOf): ModelJob {
  const running = jobs.filter(({ status }) => status === 'processing');
  const among = job < 0.8 && running.length > 0 ? running : jobs;
  return among[Math.floor(job * 100) % among.length]!;
}

/** What people write, on one job or on all. */
function bySql(name: string, set: string, apply: (job: ModelJob) => void): fc.Arbitrary<Command> {
  return fc.tuple(point, fc.constantFrom('jobs', 'media_jobs')).map(([pick, table]) => ({
    check: ({ jobs }) => jobs.length > 0,
    toString: () => `${name}(${pick.toFixed(2)}, ${table})`,
    async run({ jobs }, { db }) {
      const some = pick >= 0.9 ? jobs : [jobs[Math.floor((pick / 0.9) * jobs.length)]!];
      await db.query(`update ${table} set ${set} where id = any($1)`, [some.map(({ id }) => id)]);
      for (const job of some) apply(job);
    },
  }));
}

/** As graphile-worker does: a ticket that is due is taken, and is gone when its jobs are done with. @returns the jobs that it names */
async function claimTicket({ db }: Real, pick: number): Promise<number[]> {
  const { rows } = await db.query<{ ids: number[] }>(
    `delete from graphile_worker._private_jobs
      where id = (select id from graphile_worker._private_jobs where run_at <= clock_timestamp() order by id
                   limit 1 offset (select floor($1::float8 * count(*)) from graphile_worker._private_jobs where run_at <= clock_timestamp()))
     returning array(select json_array_elements_text(payload -> 'ids')::bigint) as ids`,
    [pick],
  );
  return (rows[0]?.ids ?? []).map(Number);
}
