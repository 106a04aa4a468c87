import type { App } from '../../app.ts';
import type { Log } from '../../base/log.ts';
import type { JobRow } from '../job.ts';
import type { Registry } from '../registry.ts';
import type { Incidents } from './incidents.ts';
import type { Ledger } from './ledger.ts';
import type { Observer } from './observer.ts';
import type { Lease } from './slots.ts';
import type { Stop } from './stop.ts';

/** What the attempts of a queue run with. */
export type AttemptOptions = {
  app: App;
  ledger: Ledger;
  incidents: Incidents;
  registry: Registry;
  observer: Required<Observer>;
  /** Bound to the queue. */
  log: Log;
  /** queues.timeout_ms, if set: it overrides the handler's own limit. */
  timeoutMs: () => number | null;
};

/** An attempt under way. */
export type Attempting = {
  row: JobRow;
  stop: Stop;
  /** What the handler last reported, 0 to 100; removed when it is written to the row. */
  progress?: number;
  /** Whether the handler has committed. */
  committed?: true;
  /** Why `commitMany` could not commit this job, although it could others. */
  refused?: { error: unknown };
  /** The texts in its sensitive values, which must not get into its result. */
  hidden?: string[];
  /** Cuts them, and configured secrets, out of errors; undefined if it has none. */
  hide?: (text: string) => string;
  /** What it waits for, and since when (Date.now). */
  waits?: { for: string; since: number };
  /** The slot that it runs on; a batch keeps the one for all of its jobs. */
  lease?: Lease;
};
