import { setTimeout as sleep } from 'node:timers/promises';
import { PermanentError, RetryableError, Snooze } from '../../worker/base/errors.ts';
import type { JobContext } from '../../worker/queue/job.ts';
import { between, random } from './random.ts';

/**
 * The kinds of jobs of the chaos run. What an attempt does is decided by the seed, the job and the attempt. All that
 * complete say in their result which attempt it was, and those that commit insert one row of `effects`, which no
 * constraint keeps from coming twice.
 */
export type Kind = {
  /** How many of a hundred jobs. */
  share: number;
  /** From and to. A job that must complete has more than faults can use up. */
  max_retries: [number, number];
  /** Whether it may end so. */
  completes: boolean;
  fails: boolean;
  /** Whether it completes by `commit`, with an effect. */
  commits: boolean;
  run(context: JobContext<unknown>, next: () => number): Promise<unknown>;
};

export type KindName = 'steady' | 'plain' | 'slow' | 'late' | 'flaky' | 'doomed' | 'hopeless';

const endless: [number, number] = [1_000, 1_000];
const completes = { completes: true, fails: false };
const fails = { completes: false, fails: true };

export const kinds: Record<KindName, Kind> = {
  steady: { share: 32, max_retries: endless, ...completes, commits: true, run: steady },
  plain: { share: 26, max_retries: endless, ...completes, commits: false, run: plain },
  slow: { share: 7, max_retries: endless, ...completes, commits: true, run: slow },
  late: { share: 2, max_retries: endless, ...completes, commits: true, run: late },
  flaky: { share: 22, max_retries: [2, 6], completes: true, fails: true, commits: true, run: flaky },
  doomed: { share: 7, max_retries: [0, 3], ...fails, commits: false, run: doomed },
  hopeless: { share: 4, max_retries: [0, 3], ...fails, commits: false, run: hopeless },
};
export const kindNames = Object.keys(kinds) as KindName[];

/** Runs one attempt, and puts it on record first, best effort: an attempt should be executed once. */
export async function runKind(name: KindName, seed: number, context: JobContext<unknown>): Promise<unknown> {
  const { id, attempt } = context.job;
  await context.app.db
    .query('insert into runs (job_id, attempt, pid) values ($1, $2, $3)', [id, attempt, process.pid])
    .catch(() => {});
  return kinds[name].run(context, random(seed, id, attempt));
}

async function steady(context: JobContext<unknown>, next: () => number): Promise<unknown> {
  await sleep(between(next, 5, 500), undefined, { signal: context.signal });
  return commitEffect(context);
}

async function plain({ job, signal, progress }: JobContext<unknown>, next: () => number): Promise<unknown> {
  await sleep(between(next, 0, 150), undefined, { signal });
  progress(50);
  await sleep(between(next, 0, 150), undefined, { signal });
  return { attempt: job.attempt };
}

/** Long enough to be hit. */
async function slow(context: JobContext<unknown>, next: () => number): Promise<unknown> {
  await sleep(between(next, 500, 2_500), undefined, { signal: context.signal });
  return commitEffect(context);
}

/** Deaf to its signal: it commits, or returns, when its job may be another's. */
async function late(context: JobContext<unknown>, next: () => number): Promise<unknown> {
  await sleep(between(next, 1_000, 7_000));
  return commitEffect(context);
}

/** Anything may happen, in the middle of its commit too. */
async function flaky(context: JobContext<unknown>, next: () => number): Promise<unknown> {
  await sleep(between(next, 0, 200), undefined, { signal: context.signal });
  const luck = next();
  if (luck < 0.2) throw new RetryableError('far_side_down', 'as planned');
  if (luck < 0.3) throw new Snooze(between(next, 0, 800), 'as planned');
  if (luck < 0.33) throw new PermanentError('hopeless', 'as planned');
  return commitEffect(context, luck < 0.43);
}

async function doomed({ signal }: JobContext<unknown>, next: () => number): Promise<unknown> {
  await sleep(between(next, 0, 100), undefined, { signal });
  throw new Error('as planned');
}

async function hopeless(): Promise<unknown> {
  throw new PermanentError('hopeless', 'as planned');
}

function commitEffect({ job, commit }: JobContext<unknown>, breaks = false): Promise<unknown> {
  return commit(async (tx) => {
    await tx.query('insert into effects (job_id, attempt, pid) values ($1, $2, $3)', [
      job.id,
      job.attempt,
      process.pid,
    ]);
    if (breaks) throw new RetryableError('half_done', 'as planned');
    return { attempt: job.attempt };
  });
}
