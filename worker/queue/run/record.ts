import { isTransient } from '../../base/db/db.ts';
import { codeOf, messageOf } from '../../base/errors.ts';
import { redactor } from '../../base/log.ts';
import { topOf } from '../../base/stack.ts';
import type { JobRow } from '../job.ts';
import { strangeKeys } from '../payload.ts';
import type { AttemptOptions } from './attempting.ts';
import type { Fault } from './incidents.ts';
import type { Ended } from './observer.ts';
import type { Outcome } from './outcome.ts';

// Writes the outcome of an attempt to its row. Each write is fenced: a row that is no longer this attempt's does not
// change.

const completed = { outcome: 'completed' } as const;
const lost = { outcome: 'dropped', reason: 'the row is no longer ours' } as const;

/** @throws the error of Postgres if the outcome could not be written */
export function record(row: JobRow, outcome: Outcome, options: AttemptOptions): Ended | Promise<Ended> {
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

async function complete(row: JobRow, result: string, options: AttemptOptions): Promise<Ended> {
  try {
    const done = await options.ledger.complete({ id: row.id, attempt: row.attempt, result });
    return done ? completed : lost;
  } catch (error) {
    if (isTransient(error)) throw error;
    const words = redactor(options.app.config.secrets)(messageOf(error)).slice(0, 2_000);
    // 54xxx: the result is larger, or nested more deeply, than Postgres can read.
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
): Promise<Ended> {
  const snoozed = await options.ledger.snooze({ id: row.id, attempt: row.attempt, delay_ms, bounded });
  if (!snoozed) return lost;
  if (!snoozed.too_long) return { outcome: 'snooze', delay_ms, reason };
  const error = `The job did nothing but wait for longer than queues.snooze_limit. The last reason: ${reason}`;
  return fail(row, { outcome: 'fail', error_code: 'snoozed_too_long', error: error.slice(0, 2_000) }, options);
}

/** Holds the job until the incident ends; without an incident, it is retried. */
async function hold(row: JobRow, fault: Fault, options: AttemptOptions): Promise<Ended> {
  const { incidents, ledger } = options;
  const { dependency, error_code, error } = fault;
  if (!(await incidents.meet(row, fault))) return fail(row, { outcome: 'retry', error_code, error }, options);
  if (!(await ledger.putOff({ id: row.id, attempt: row.attempt, error_code, error }))) return lost;
  // The incident may have ended while that was written.
  await incidents.refresh();
  if (!incidents.holds(row)) await ledger.giveBack([row.id]);
  return { outcome: 'held', dependency, error_code };
}

async function fail(
  row: JobRow,
  { outcome, error_code, error: words, stack }: Outcome & { outcome: 'retry' | 'fail' },
  options: AttemptOptions,
): Promise<Ended> {
  const { id, attempt } = row;
  const error = withStrangeKeys(words, row, options);
  const failed = await options.ledger.fail({ id, attempt, error_code, error, stack, permanent: outcome === 'fail' });
  if (!failed) return lost;
  const { status, retry_count } = failed;
  const at = topOf(stack);
  return { outcome: status === 'failed' ? 'fail' : 'retry', error_code, status, retry_count, ...(at ? { at } : {}) };
}

/** A misspelt key may be why the job failed. */
function withStrangeKeys(words: string, { queue, kind, payload }: JobRow, { app, registry }: AttemptOptions): string {
  const definition = registry.get(`${queue}.${kind}`);
  const strange = definition && strangeKeys(definition, payload);
  return strange ? `${words.slice(0, 1_500)}; ${redactor(app.config.secrets)(strange).slice(0, 450)}` : words;
}
