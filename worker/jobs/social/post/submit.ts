import { createHash } from 'node:crypto';
import { isOf, PermanentError, RetryableError, Snooze } from '../../../base/errors.ts';
import type { Adapter, Task } from '../../../providers/social/adapter.ts';
import { ReconnectNeeded, StartOver, TokenRefused } from '../../../providers/social/errors.ts';
import type { Attempt, Held } from './ledger.ts';

/**
 * The one request that cannot be taken back. It goes out at most once for each row of social_attempts, and no second
 * row is made while the outcome of the first is unknown. Returns when the platform has taken the post.
 * @throws PermanentError `social_unconfirmed`; Snooze while the platform is asked what became of it; what `submit`
 *   throws if it certainly was not taken
 */
export async function submitOnce(held: Held, adapter: Adapter, task: Task, pollMs: number): Promise<void> {
  const earlier = await held.attempt();
  if (earlier && !(await mayTryAgain(earlier, held, adapter, task, pollMs))) return;

  const attempt = await held.beginAttempt(fingerprintOf(task));
  const receipt = await adapter.submit(task).catch(async (error: unknown) => {
    if (isNotTaken(error, task.signal)) {
      await held.ended(attempt, 'definite_failure', error);
      throw error;
    }
    await held.ended(attempt, 'ambiguous', error);
    throw new Snooze(pollMs, 'no answer came to the request that publishes: the platform is asked what became of it');
  });
  await held.accepted(attempt, receipt);
}

/** @returns false if the platform has the post */
async function mayTryAgain(
  attempt: Attempt,
  held: Held,
  adapter: Adapter,
  task: Task,
  pollMs: number,
): Promise<boolean> {
  const found = attempt.status === 'accepted' ? { is: 'accepted' as const } : await adapter.find(task, attempt.sent_at);
  switch (found.is) {
    case 'accepted':
      await held.accepted(attempt.id, found);
      return false;
    case 'absent':
      await held.ended(attempt.id, 'definite_failure', new Error('the platform says that it did not take it'));
      return true;
    case 'unknown':
      if (attempt.age_ms > pollMs * lookUps) throw await held.unconfirmed(attempt.id, found.reason);
      throw new Snooze(pollMs, found.reason, { bounded: false });
  }
}

/** How often the platform is asked before a person is. */
export const lookUps = 10;

/** Whether an error of `submit` says that the platform did not take it. What nobody foresaw says nothing. */
function isNotTaken(error: unknown, signal: AbortSignal): boolean {
  if (signal.aborted && error === signal.reason) return true;
  if (error instanceof TokenRefused || error instanceof ReconnectNeeded || error instanceof StartOver) return true;
  return isOf(error, PermanentError) || isOf(error, RetryableError) || isOf(error, Snooze);
}

const fingerprintOf = ({ post, state, access }: Task): string =>
  createHash('sha256')
    .update(JSON.stringify([access.external_id, post, state]))
    .digest('base64url');
