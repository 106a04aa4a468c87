import { isTransient, isUnsent, transaction, type Tx } from '../../base/db/db.ts';
import { persist } from '../../base/db/persist.ts';
import type { JobContext } from '../job.ts';
import type { Attempting, AttemptOptions } from './attempting.ts';
import { coalesce, oneByOne } from './coalesce.ts';
import { Stopped } from './outcome.ts';
import { resultOf } from './sensitive.ts';

type CommitOptions = Pick<AttemptOptions, 'app' | 'ledger'>;

/** Whether the same transaction may succeed if it is repeated. */
const isPassing = (error: unknown) => isTransient(error) || isUnsent(error);

/**
 * Runs `work` in the transaction that completes the job with what it returns. It is repeated while Postgres is away,
 * until the job is stopped.
 * @throws Stopped if the row is no longer this attempt's; what `work` throws
 */
export async function commit<Result>(
  attempting: Attempting,
  work: (tx: Tx) => Promise<Result>,
  { app, ledger }: CommitOptions,
): Promise<Result> {
  const { row, stop } = attempting;
  let result: Result;
  const inTransaction = (tries: number) =>
    transaction(app.db, async (tx) => {
      // The job's row is locked first, as in every other statement that then locks the file's row: so there is no
      // deadlock.
      if (!(await ledger.holdIn(tx, row))) {
        // The answer to an earlier COMMIT may have been lost: then this attempt has completed the row.
        if (tries > 1 && (await ledger.completedBy(row))) return result;
        throw new Stopped('taken');
      }
      result = await work(tx);
      await ledger.completeIn(tx, { id: row.id, attempt: row.attempt, result: resultOf(attempting, result) });
      return result;
    });
  const done = await persist(inTransaction, stop.signal, isPassing);
  attempting.committed = true;
  return done;
}

/** A job of a batch. */
export type Member = { attempting: Attempting; context: JobContext<unknown> };
type Work<Result> = (tx: Tx, held: JobContext<unknown>[]) => Promise<Map<number, Result>>;

/**
 * The same for a batch: `work` writes for all jobs that still belong to the batch, and those that it returns a result
 * for are completed. If that fails, each job is tried alone, so that one job does not fail its neighbours.
 * @returns the results of the jobs that it completed, by id
 * @throws what `work` throws for the only job; the last error of Postgres if all jobs are stopped
 */
export async function commitMany<Result>(
  batch: Member[],
  work: Work<Result>,
  options: CommitOptions,
): Promise<Map<number, Result>> {
  const open = batch.filter(({ attempting }) => !attempting.committed && !attempting.refused);
  try {
    return await commitAll(open, work, options);
  } catch (error) {
    if (open.length < 2 || isPassing(error)) throw error;
  }
  const done = new Map<number, Result>();
  for (const member of open) {
    try {
      for (const [id, result] of await commitAll([member], work, options)) done.set(id, result);
    } catch (error) {
      if (isPassing(error)) throw error;
      member.attempting.refused = { error };
    }
  }
  return done;
}

async function commitAll<Result>(
  batch: Member[],
  work: Work<Result>,
  { app, ledger }: CommitOptions,
): Promise<Map<number, Result>> {
  const members = new Map(batch.map((member) => [member.attempting.row.id, member]));
  const memberOf = (id: number): Member => {
    const member = members.get(id);
    if (!member) throw new Error(`commitMany was given a result for job ${id}, which the transaction does not hold`);
    return member;
  };
  let results = new Map<number, Result>();
  const inTransaction = (tries: number) =>
    transaction(app.db, async (tx) => {
      const held = await ledger.holdManyIn(
        tx,
        batch.map(({ attempting }) => attempting.row),
      );
      // The answer to an earlier COMMIT may have been lost: then all of its jobs are completed, or none.
      const [first] = tries > 1 ? results.keys() : [];
      if (first !== undefined && (await ledger.completedBy(memberOf(first).attempting.row))) return results;
      for (const id of members.keys()) if (!held.has(id)) members.delete(id);
      results =
        members.size > 0
          ? await work(
              tx,
              [...members.values()].map(({ context }) => context),
            )
          : new Map();
      const completions = [...results].map(([id, result]) => {
        const { attempting } = memberOf(id);
        return { id, attempt: attempting.row.attempt, result: resultOf(attempting, result) };
      });
      await ledger.completeManyIn(tx, completions);
      return results;
    });
  const anyRuns = () => batch.some(({ attempting }) => !attempting.stop.reason);
  const done = await persist(inTransaction, undefined, (error) => isPassing(error) && anyRuns());
  for (const id of done.keys()) memberOf(id).attempting.committed = true;
  return done;
}

export type Write<Item> = (tx: Tx, items: Item[]) => Promise<unknown>;
type Single = Member & { item: unknown; result: unknown };
type Committed = { result: unknown } | { error: unknown };

/** Of each queue: what its jobs write, and where those that write it meet. */
const meetings = new WeakMap<CommitOptions['ledger'], Map<Write<any>, (single: Single) => Promise<Committed>>>();

/**
 * `commit` for jobs that do not know of each other: those that come while a transaction is under way share the next.
 * @throws Stopped if the row is no longer this attempt's; what `write` throws for this job alone
 */
export async function commitTogether<Result>(
  single: Single & { result: Result },
  write: Write<any>,
  options: CommitOptions,
): Promise<Result> {
  const meeting = meetings.get(options.ledger) ?? new Map<Write<any>, (single: Single) => Promise<Committed>>();
  meetings.set(options.ledger, meeting);
  const meet = meeting.get(write) ?? coalesce((all: Single[]) => commitSingles(all, write, options), oneByOne);
  meeting.set(write, meet);
  const committed = await meet(single);
  if ('error' in committed) throw committed.error;
  return single.result;
}

/** Never throws: a transaction that failed was tried for each job alone. */
async function commitSingles(all: Single[], write: Write<any>, options: CommitOptions): Promise<Committed[]> {
  const byId = new Map(all.map((single) => [single.attempting.row.id, single]));
  const work: Work<unknown> = async (tx, held) => {
    const mine = held.map(({ job }) => byId.get(job.id)!);
    await write(
      tx,
      mine.map(({ item }) => item),
    );
    return new Map(mine.map(({ attempting, result }) => [attempting.row.id, result]));
  };
  try {
    const done = await commitMany(all, work, options);
    return all.map(({ attempting, result }) => {
      if (done.has(attempting.row.id)) return { result };
      return attempting.refused ?? { error: new Stopped('taken') };
    });
  } catch (error) {
    return all.map(() => ({ error }));
  }
}
