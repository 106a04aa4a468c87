import { RetryableError } from '../base/errors.ts';

/** What stops one attempt. Its signal is made when somebody asks for it: most short jobs never do. */
export class Stop {
  /** Why it was stopped; undefined while it was not. */
  reason: Error | undefined;
  /** Called once, when it is stopped. */
  onStop: (() => void) | undefined;
  #controller: AbortController | undefined;

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.reason) this.#controller.abort(this.reason);
    }
    return this.#controller.signal;
  }

  /** The first reason counts. */
  now(reason: Error): void {
    if (this.reason) return;
    this.reason = reason;
    this.#controller?.abort(reason);
    this.onStop?.();
  }
}

/** How long a handler may go on after it was stopped, before its job is judged without it. */
const graceMs = 5_000;
const defaultLimitMs = 300_000;

/**
 * The result of the work, which is stopped when its time limit is over; or the reason why it was stopped, thrown, when it has not ended
 * within the grace after all of its attempts were stopped.
 */
export function inTime<T>(work: Promise<T>, stops: Stop[], limitMs = defaultLimitMs): Promise<T> {
  return new Promise((resolve, reject) => {
    let grace: NodeJS.Timeout | undefined;
    const limit = setTimeout(() => {
      const late = new RetryableError('timeout', `The job took longer than its limit of ${limitMs / 1_000} s`);
      for (const stop of stops) stop.now(late);
    }, limitMs);
    const onStop = () => {
      if (stops.every(({ reason }) => reason)) grace ??= setTimeout(() => end(reject, stops[0]!.reason), graceMs);
    };
    for (const stop of stops) stop.onStop = onStop;
    onStop();

    function end<Value>(settle: (value: Value) => void, value: Value): void {
      clearTimeout(limit);
      clearTimeout(grace);
      for (const stop of stops) stop.onStop = undefined;
      settle(value);
    }
    Promise.resolve(work).then(
      (result) => end(resolve, result),
      (error: unknown) => end(reject, error),
    );
  });
}
