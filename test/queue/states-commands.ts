import assert from 'node:assert/strict';
import fc from 'fast-check';
import { transaction } from '../../worker/base/db/db.ts';
import type { Ledger } from '../../worker/queue/run/ledger.ts';
import { failLost } from '../../worker/queue/run/lost.ts';
import * as upkeep from '../../worker/queue/fleet/upkeep.ts';
import { silent } from '../support/log.ts';
import { byHand, point, queues, type Command, type Real } from './states-hand.ts';
import * as model from './states-model.ts';
import type { Claim, ModelJob } from './states-model.ts';

/**
 * Everything that can happen to a row, each done to the model and to Postgres: here what the engine does, and in
 * states-hand.ts what people write.
 */

/** Not all are right: an attempt of before or after, or of another worker. */
const claim = fc.record({
  job: point,
  late: fc.constantFrom(0, 0, -1, 1),
  stranger: fc.constantFrom(false, false, false, true),
});
type ClaimOf = typeof claim extends fc.Arbitrary<infer Value> ? Value : never;

const claimed: fc.Arbitrary<Command> = fc.record({ ticket: point, worker: fc.nat(1) }).map(({ ticket, worker }) => ({
  check: () => true,
  toString: () => `claim(ticket ${ticket.toFixed(2)}, worker ${worker})`,
  async run({ jobs }, real) {
    const ids = await claimTicket(real, ticket);
    const { id, ledger } = real.workers[worker]!;
    const started = (await ledger.start(ids)).filter(({ expired }) => !expired).map((row) => row.id);
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
        await ledger.completeIn(tx, { ...job, result: JSON.stringify(result) });
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
    done: async (_, ledger, job, due) =>
      (await ledger.snooze({ ...job, delay_ms: due ? 0 : 3_600_000, bounded: !due })) !== undefined,
  }),
  fenced('reap', fc.constant(null), {
    expected: (job, by) => model.fail(job, by, 'worker_lost', false),
    done: async ({ db }, _, job, __, worker) =>
      void (await transaction(db, (tx) => failLost(tx, 'media', worker, [job]))),
  }),
];

const engine: fc.Arbitrary<Command>[] = [
  fc.constant<Command>({
    check: ({ jobs }) => jobs.length > 0,
    toString: () => 'look what was taken',
    async run({ jobs }, { workers }) {
      const own = jobs.filter(({ queue }) => queue === 'media');
      for (const { id: worker, ledger } of workers) {
        const believed = own.map(({ id, attempt }) => ({ id, attempt }));
        const taken = (await ledger.taken(believed)).map(({ id }) => id);
        const expected = own.filter((job) => job.status !== 'processing' || job.locked_by !== worker);
        assert.deepEqual(
          taken.toSorted((a, b) => a - b),
          expected.map(({ id }) => id),
        );
      }
    },
  }),
  fc.constant<Command>({
    check: ({ jobs }) => jobs.some(({ status }) => status === 'completed' || status === 'cancelled'),
    toString: () => 'archive',
    async run({ jobs }, { db }) {
      await db.query(`update jobs set completed_at = now() - interval '1 minute' where completed_at is not null`);
      for (const queue of queues) await transaction(db, (tx) => upkeep.archive(tx, queue));
      for (const job of jobs) model.archive(job);
    },
  }),
  fc.constant<Command>({
    check: ({ jobs }) => jobs.some(({ status }) => status === 'processing'),
    toString: () => 'reconcile',
    async run({ jobs }, { db }) {
      for (const queue of queues) await transaction(db, (tx) => upkeep.reconcile(tx, 'rowmill_tickets', queue, silent));
      for (const job of jobs)
        if (job.locked_by === null) model.fail(job, { attempt: job.attempt, worker: null }, 'worker_lost', false);
    },
  }),
];
const archive = engine[1]!;

/** Some more often than others, so that there is mostly something that runs. */
export const commands = [
  byHand,
  Array<typeof claimed>(5).fill(claimed),
  endings,
  endings,
  endings,
  engine,
  Array<typeof archive>(3).fill(archive),
].flat();

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
    check: ({ jobs }) => jobs.some(({ queue }) => queue === 'media'),
    toString: () => `${name}(${JSON.stringify({ ...of, how: variant })})`,
    async run(all, real) {
      const jobs = all.jobs.filter(({ queue }) => queue === 'media');
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

/**
 * As graphile-worker does: a ticket that is due is taken, and is gone when its jobs are done with.
 * @returns the jobs that it names
 */
async function claimTicket({ db }: Real, pick: number): Promise<number[]> {
  const { rows } = await db.query<{ ids: number[] }>(
    `with due as (select id from rowmill_tickets.jobs where task_identifier = 'media' and run_at <= clock_timestamp())
     delete from rowmill_tickets._private_jobs
      where id = (select id from due order by id limit 1 offset (select floor($1::float8 * count(*)) from due))
     returning array(select json_array_elements_text(payload -> 'ids')::bigint) as ids`,
    [pick],
  );
  return (rows[0]?.ids ?? []).map(Number);
}
