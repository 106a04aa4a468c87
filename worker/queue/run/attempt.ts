import { setTimeout as sleep } from 'node:timers/promises';
import type { App } from '../../app.ts';
import { isTransient, isUnsent, transaction, type Tx } from '../../base/db/db.ts';
import { codeOf, messageOf } from '../../base/errors.ts';
import { redactor, type Log } from '../../base/log.ts';
import { topOf } from '../../base/stack.ts';
import { asCulprit } from './culprit.ts';
import type { Fault, Incidents } from './incidents.ts';
import type { JobContext, JobRow } from '../job.ts';
import { storableResult, type Ledger } from './ledger.ts';
import { judge, Stopped, type Outcome } from './outcome.ts';
import { strangeKeys } from '../payload.ts';
import { rateLimit } from './rate-limit.ts';
import { accept } from '../accept.ts';
import type { Registry } from '../registry.ts';
import { inTime, Stop } from './stop.ts';

/** What the attempts of a queue run with. */
export type AttemptOptions = {
  app: App;
  ledger: Ledger;
  incidents: Incidents;
  registry: Registry;
  /** Bound to the queue. */
  log: Log;
  /** queues.timeout_ms, where set: it overrides the handler's own limit. */
  timeoutMs: () => number | null;
};

/** One attempt under way. */
export type Attempting = {
  row: JobRow;
  stop: Stop;
  /** How far the handler says it is, 0 to 100; taken out when it is reported. */
  progress?: number;
  /** Whether the handler has committed. */
  committed?: true;
  /** What it waits for, and since when: by Date.now. */
  waits?: { for: string; since: number };
  /** Gives up its place in the queue. @throws Snooze */
  stepAside?: () => void;
};

/** How the handler answered. */
export type Answer = { result: unknown } | { error: unknown };

/**
 * What the log is told of an attempt: its code, and where an unforeseen error arose (`at`), but never the error's words. Those of others quote
 * what they stumbled over, ours quote keys, addresses and what a far side said; they are in the row, for whoever may read it.
 */
type Written = { outcome: string; [field: string]: unknown };

/** Runs the handler of a job that was started, judges how it went, and writes that to the row. Never throws. */
export async function runAttempt(attempting: Attempting, options: AttemptOptions): Promise<void> {
  const began = performance.now();
  let answer: Answer;
  try {
    if (attempting.row.large) await loadPayload(attempting.row, options.ledger);
    const { definition, payload } = accept(options.registry, attempting.row);
    if (!('run' in definition)) throw new Error(`${definition.name} runs in batches`);
    const work = asCulprit([attempting.stop], () => definition.run(contextOf(attempting, payload, options)));
    answer = { result: await inTime(work, [attempting.stop], options.timeoutMs() ?? definition.timeout) };
  } catch (error) {
    answer = { error };
  }
  await conclude(attempting, answer, options, began);
}

/** @throws Stopped when the row is no longer ours; PermanentError `payload_too_large` */
export async function loadPayload(row: JobRow, ledger: Ledger): Promise<void> {
  const loaded = await ledger.loadPayload(row);
  if (!loaded) throw new Stopped('taken');
  row.payload = loaded.payload;
}

/** What a handler is given for an attempt. Handlers take it apart, so nothing in it goes by `this`; what few ask for is made when asked for. */
class Context implements JobContext<unknown> {
  readonly #attempting: Attempting;
  readonly #options: AttemptOptions;
  readonly payload: unknown;

  constructor(attempting: Attempting, payload: unknown, options: AttemptOptions) {
    this.#attempting = attempting;
    this.#options = options;
    this.payload = payload;
  }

  get job() {
    return this.#attempting.row;
  }

  get app() {
    return this.#options.app;
  }

  get log() {
    return this.#options.log.child(named(this.#attempting.row));
  }

  get signal() {
    return this.#attempting.stop.signal;
  }

  get progress() {
    return (percent: number) => {
      this.#attempting.progress = Math.max(0, Math.min(100, Math.round(percent)));
    };
  }

  get waiting() {
    return <T>(what: string, turn: Promise<T>) => waitFor(this.#attempting, what, turn, this.#options.log);
  }

  get aside() {
    return () => this.#attempting.stepAside?.();
  }

  get commit() {
    return async <Result>(work: (tx: Tx) => Promise<Result>) => {
      const result = await commit(this.job, work, this.signal, this.#options);
      this.#attempting.committed = true;
      return result;
    };
  }

  get rateLimit() {
    return (key: string, perSecond: number) => rateLimit(this.app.db, key, perSecond, this.signal);
  }
}

export const contextOf = (attempting: Attempting, payload: unknown, options: AttemptOptions): JobContext<unknown> =>
  new Context(attempting, payload, options);

/** Waits that are longer are told. */
export const longWaitMs = 5_000;

async function waitFor<T>(attempting: Attempting, what: string, turn: Promise<T>, log: Log): Promise<T> {
  const { row, stop } = attempting;
  const since = Date.now();
  attempting.waits = { for: what, since };
  const told = setTimeout(() => log.info({ ...named(row), waits_for: what }, 'the job waits'), longWaitMs);
  try {
    return await stop.await(turn);
  } finally {
    clearTimeout(told);
    delete attempting.waits;
    const waited_ms = Date.now() - since;
    if (waited_ms > longWaitMs) log.info({ ...named(row), waited_for: what, waited_ms }, 'the job goes on');
  }
}

async function commit<Result>(
  row: JobRow,
  work: (tx: Tx) => Promise<Result>,
  signal: AbortSignal,
  { app, ledger }: AttemptOptions,
): Promise<Result> {
  let result: Result;
  for (let tries = 1; ; tries++) {
    try {
      return await transaction(app.db, async (tx) => {
        // The job's row is locked first, as every other statement does that goes on to the file's row: no deadlock.
        if (!(await ledger.holdIn(tx, row))) throw new Stopped('taken');
        result = await work(tx);
        await ledger.completeIn(tx, row, result);
        return result;
      });
    } catch (error) {
      // The answer to an earlier COMMIT may have been lost on its way: then this attempt has completed the row already.
      if (error instanceof Stopped && tries > 1 && (await ledger.completedBy(row))) return result!;
      if (!(isTransient(error) || isUnsent(error)) || signal.aborted) throw error;
      await sleep(Math.min(tries * 100, 2_000), undefined, { signal }).catch(() => {});
    }
  }
}

/** Judges the answer of a handler, writes the outcome to its row, and a line to the log. Never throws. */
export async function conclude(
  attempting: Attempting,
  answer: Answer,
  options: AttemptOptions,
  began: number,
): Promise<void> {
  const { row } = attempting;
  try {
    const written = await write(row, outcomeOf(attempting, answer, options), options);
    note(row, written, options.log, began);
    await options.incidents.ended(row, written.outcome);
  } catch (error) {
    // The row stays processing, run by nobody: the worker looks for such rows of its own, and retries them.
    options.log.error({ ...named(row), err: error }, 'could not write the outcome of a job');
  }
}

function note(row: JobRow, written: Written, log: Log, began: number): void {
  const level = written.outcome === 'completed' ? 'info' : 'warn';
  if (log.isLevelEnabled(level))
    log[level]({ ...named(row), ...written, duration_ms: Math.round(performance.now() - began) }, 'attempt ended');
}

const named = ({ id, kind, attempt }: JobRow) => ({ kind, job_id: id, attempt });

function outcomeOf({ committed, stop }: Attempting, answer: Answer, { app }: AttemptOptions): Outcome {
  if (committed) return { outcome: 'committed' };
  try {
    if ('error' in answer) throw answer.error;
    return { outcome: 'completed', result: storableResult(answer.result) };
  } catch (error) {
    return judge(error, stop.reason, redactor(app.config.secrets));
  }
}

const completed = { outcome: 'completed' } as const;
const lost = { outcome: 'dropped', reason: 'the row is no longer ours' } as const;

function write(row: JobRow, outcome: Outcome, options: AttemptOptions): Written | Promise<Written> {
  switch (outcome.outcome) {
    case 'committed':
      return completed;
    case 'completed':
      return complete(row, outcome.result, options);
    case 'snooze':
      return snooze(row, outcome, options);
    case 'held':
      return hold(row, outcome, options);
    case 'dropped':
      return outcome;
    case 'retry':
    case 'fail':
      return fail(row, outcome, options);
  }
}

/** The result itself may be anybody's data: it goes to the row and not to the log. */
async function complete(row: JobRow, result: string, options: AttemptOptions): Promise<Written> {
  try {
    const done = await options.ledger.complete({ id: row.id, attempt: row.attempt, result });
    return done ? completed : lost;
  } catch (error) {
    if (isTransient(error)) throw error;
    const words = redactor(options.app.config.secrets)(messageOf(error)).slice(0, 2_000);
    // 54xxx: it is more, or nested more deeply, than Postgres can read.
    const [outcome, error_code] = codeOf(error)?.startsWith('54')
      ? (['fail', 'result_too_large'] as const)
      : (['retry', 'result_not_stored'] as const);
    return fail(row, { outcome, error_code, error: words }, options);
  }
}

async function snooze(
  row: JobRow,
  { delay_ms, reason, bounded }: Outcome & { outcome: 'snooze' },
  options: AttemptOptions,
): Promise<Written> {
  const snoozed = await options.ledger.snooze({ id: row.id, attempt: row.attempt, delay_ms, bounded });
  if (!snoozed) return lost;
  if (!snoozed.too_long) return { outcome: 'snooze', delay_ms, reason };
  const error = `The job did nothing but wait for longer than queues.snooze_limit. The last reason: ${reason}`;
  return fail(row, { outcome: 'fail', error_code: 'snoozed_too_long', error: error.slice(0, 2_000) }, options);
}

/** Puts the job off until the incident ends; where there is none, it is retried. */
async function hold(row: JobRow, fault: Fault, options: AttemptOptions): Promise<Written> {
  const { incidents, ledger } = options;
  const { dependency, error_code, error } = fault;
  if (!(await incidents.meet(row, fault))) return fail(row, { outcome: 'retry', error_code, error }, options);
  if (!(await ledger.putOff({ id: row.id, attempt: row.attempt, error_code, error }))) return lost;
  // The incident may have ended while that was written.
  await incidents.look();
  if (!incidents.holds(row)) await ledger.giveBack([row.id]);
  return { outcome: 'held', dependency, error_code };
}

async function fail(
  row: JobRow,
  { outcome, error_code, error: words, stack }: Outcome & { outcome: 'retry' | 'fail' },
  options: AttemptOptions,
): Promise<Written> {
  const { id, attempt } = row;
  const error = withStrangeKeys(words, row, options);
  const failed = await options.ledger.fail({ id, attempt, error_code, error, stack, permanent: outcome === 'fail' });
  if (!failed) return lost;
  const { status, retry_count } = failed;
  const at = topOf(stack);
  return { outcome: status === 'failed' ? 'fail' : 'retry', error_code, status, retry_count, ...(at ? { at } : {}) };
}

/** A slip in a key may well be why the job failed. */
function withStrangeKeys(words: string, { queue, kind, payload }: JobRow, { app, registry }: AttemptOptions): string {
  const definition = registry.get(`${queue}.${kind}`);
  const strange = definition && strangeKeys(definition, payload);
  return strange ? `${words.slice(0, 1_500)}; ${redactor(app.config.secrets)(strange).slice(0, 450)}` : words;
}
