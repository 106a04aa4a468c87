import { RetryableError } from '../../base/errors.ts';

/** What stops one attempt. Its signal is made when it is asked for: most short jobs never do. */
export class Stop {
  /** Why it was stopped; undefined while it was not. */
  reason: Error | undefined;
  /** Called once, when it is stopped. */
  onStop: (() => void) | undefined;
  /** How many turns it waits for, and what is called when that changes. */
  turns = 0;
  onTurn: (() => void) | undefined;
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

  /** Waits for a turn. The time limit does not run meanwhile. */
  async await<T>(turn: Promise<T>): Promise<T> {
    this.turns++;
    this.onTurn?.();
    try {
      return await turn;
    } finally {
      this.turns--;
      this.onTurn?.();
    }
  }
}

/** How long a handler may go on after it was stopped, before its job is judged without it. */
const graceMs = 5_000;
const defaultLimitMs = 300_000;

/**
 * The result of the work, which is stopped when its time limit is over. If it has not ended within the grace period
 * after all of its attempts were stopped, it throws the reason why they were stopped. The limit does not run while one
 * of them waits for a turn.
 */
export function inTime<T>(work: Promise<T>, stops: Stop[], limitMs = defaultLimitMs): Promise<T> {
  return new Promise((resolve, reject) => {
    let grace: NodeJS.Timeout | undefined;
    const limit = createTimer(limitMs, () => {
      const late = new RetryableError('timeout', `The job took longer than its limit of ${limitMs / 1_000} s`);
      for (const stop of stops) stop.now(late);
    });
    const onStop = () => {
      if (stops.every(({ reason }) => reason)) grace ??= setTimeout(() => end(reject, stops[0]!.reason), graceMs);
    };
    const onTurn = () => (stops.some(({ turns }) => turns > 0) ? limit.pause() : limit.run());
    for (const stop of stops) Object.assign(stop, { onStop, onTurn });
    onStop();
    onTurn();

    function end<Value>(settle: (value: Value) => void, value: Value): void {
      for (const stop of stops) stop.onStop = stop.onTurn = undefined;
      limit.pause();
      clearTimeout(grace);
      settle(value);
    }
    Promise.resolve(work).then(
      (result) => end(resolve, result),
      (error: unknown) => end(reject, error),
    );
  });
}

/** Calls back once, when it has run for this time in total. */
function createTimer(ms: number, ring: () => void) {
  let left = ms;
  let since = 0;
  let timer: NodeJS.Timeout | undefined;
  return {
    run(): void {
      if (timer) return;
      since = performance.now();
      timer = setTimeout(ring, left);
    },
    pause(): void {
      if (!timer) return;
      clearTimeout(timer);
      timer = undefined;
      left = Math.max(0, left - (performance.now() - since));
    },
  };
}
