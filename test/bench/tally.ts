import { now } from './clock.ts';
import { say } from './child.ts';
import type { Payload } from './tools/tool.ts';
import type { Step, Trace } from './trace.ts';

/** What the handlers of one worker count, in the worker's process. */
export type Tally = { handle(payload: Payload): void };

/** A job that says when it was sent: when that was, and when its handler started, on the shared clock. */
export type Wait = { n: number; sent: number; at: number };

export type Handled = {
  /** When the first handler started, on the shared clock. */
  first: number;
  /** In the order of the starts. */
  waits: Wait[];
  /** Of the jobs that waited longest, the longest first; without a trace none. */
  slowest: (Wait & { steps: Step[] })[];
};

const told = 10;

/** Says `handled`, with what was counted, when the handler of each of `expect` numbered jobs was called. */
export function createTally(expect: number, trace?: Trace & { from: number }): Tally {
  const waits: Wait[] = [];
  let first = 0;
  let count = 0;
  return {
    handle({ n, sent }) {
      if (n === undefined) return;
      const at = now();
      if (count === 0) first = at;
      if (sent !== undefined) waits.push({ n, sent, at });
      count += 1;
      if (count === expect) say('handled', { first, waits, slowest: slowest(waits, trace) } satisfies Handled);
    },
  };
}

function slowest(waits: Wait[], trace: (Trace & { from: number }) | undefined): Handled['slowest'] {
  if (!trace) return [];
  return waits
    .filter(({ n }) => n >= trace.from)
    .toSorted((a, b) => b.at - b.sent - (a.at - a.sent))
    .slice(0, told)
    .map((wait) => ({ ...wait, steps: trace.between(wait.sent, wait.at) }));
}
