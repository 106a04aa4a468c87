import { now } from './clock.ts';
import { say } from './child.ts';
import type { Payload } from './tools/tool.ts';

/** What the handlers of one worker count, in the worker's process. */
export type Tally = { handle(payload: Payload): void };

export type Handled = {
  /** When the first handler started, on the shared clock. */
  first: number;
  /**
   * Milliseconds from before the insert to the start of the handler, in the order of the starts; of jobs that say when
   * they were sent.
   */
  waits: number[];
};

/** Says `handled`, with what was counted, when the handler of each of `expect` numbered jobs was called. */
export function createTally(expect: number): Tally {
  const waits: number[] = [];
  let first = 0;
  let count = 0;
  return {
    handle({ n, sent }) {
      if (n === undefined) return;
      const at = now();
      if (count === 0) first = at;
      if (sent !== undefined) waits.push(at - sent);
      count += 1;
      if (count === expect) say('handled', { first, waits } satisfies Handled);
    },
  };
}
