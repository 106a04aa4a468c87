import type { App } from '../../app.ts';
import { redactor } from '../../base/log.ts';
import { kindOf } from '../accept.ts';
import type { JobContext, JobDefinition, JobRow } from '../job.ts';
import { parsePayload } from '../payload.ts';
import type { Attempting, AttemptOptions } from './attempting.ts';
import { contextOf } from './context.ts';
import { asCulprit } from './culprit.ts';
import type { Ended } from './observer.ts';
import { judge, Stopped, type Outcome } from './outcome.ts';
import { record } from './record.ts';
import { resultOf, reveal } from './sensitive.ts';
import { inTime } from './stop.ts';

/** The answer of a handler. */
export type Answer = { result: unknown } | { error: unknown };

/** One attempt of a job that was started, from its payload to its outcome on the row. Never throws. */
export async function runAttempt(attempting: Attempting, options: AttemptOptions): Promise<void> {
  const began = begin(attempting, options);
  const answer = await perform(attempting, options);
  await conclude(attempting, answer, began, options);
}

/** Tells the observer. @returns when the attempt began, by performance.now */
export function begin({ row }: Attempting, { observer }: AttemptOptions): number {
  // A run_at or created_at that was written by hand may be in the future, or minus infinity.
  observer.started(row, Number.isFinite(row.waited_ms) ? Math.max(0, Math.round(row.waited_ms)) : 0);
  return performance.now();
}

async function perform(attempting: Attempting, options: AttemptOptions): Promise<Answer> {
  const { stop } = attempting;
  try {
    const { definition, context } = await prepare(attempting, options);
    if (!('run' in definition)) throw new Error(`${definition.name} runs in batches`);
    const { observer } = options;
    const work = asCulprit([attempting], () => observer.within([attempting.row], () => definition.run(context)));
    return { result: await inTime(work, [stop], options.timeoutMs() ?? definition.timeout) };
  } catch (error) {
    return { error };
  }
}

/** @throws PermanentError `payload_too_large`; Stopped if the row is no longer ours */
async function loadPayload(row: JobRow, { ledger }: AttemptOptions): Promise<void> {
  const loaded = await ledger.loadPayload(row);
  if (!loaded) throw new Stopped('taken');
  row.payload = loaded.payload;
}

/**
 * The handler of a job, and its context.
 * @throws PermanentError `unknown_kind`; `invalid_payload`, which names every field at fault; what `loadPayload` and
 *   `reveal` throw
 */
export async function prepare(
  attempting: Attempting,
  options: AttemptOptions,
): Promise<{ definition: JobDefinition; context: JobContext<unknown> }> {
  const { row } = attempting;
  if (row.large) await loadPayload(row, options);
  const definition = kindOf(options.registry, row);
  const { sensitive } = definition;
  const given = sensitive ? await reveal(attempting, sensitive, options) : row.payload;
  return { definition, context: contextOf(attempting, parsePayload(definition, given), options) };
}

/** Judges the answer of a handler, writes the outcome to its row, and tells the observer. Never throws. */
export async function conclude(
  attempting: Attempting,
  answer: Answer,
  began: number,
  options: AttemptOptions,
): Promise<void> {
  const { row } = attempting;
  const { app, incidents, log, observer } = options;
  let ended: Ended = { outcome: 'unwritten' };
  try {
    ended = await record(row, outcomeOf(attempting, answer, app), options);
    await incidents.ended(row, ended.outcome);
  } catch (error) {
    // Either the write failed: nobody runs the job now, and findOrphans (queue.ts) retries it. Or only
    // `incidents.ended` failed: the next probe ends the incident.
    log.error(
      { kind: row.kind, job_id: row.id, attempt: row.attempt, err: error },
      'could not write the outcome of a job',
    );
  }
  observer.ended(row, ended, Math.round(performance.now() - began));
}

function outcomeOf(attempting: Attempting, given: Answer, { config }: App): Outcome {
  const { committed, refused, stop } = attempting;
  if (committed) return { outcome: 'committed' };
  const answer = refused ?? given;
  try {
    if ('error' in answer) throw answer.error;
    return { outcome: 'completed', result: resultOf(attempting, answer.result) };
  } catch (error) {
    return judge(error, stop.reason, attempting.hide ?? redactor(config.secrets));
  }
}
