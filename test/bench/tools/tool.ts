import type { Server } from '../server.ts';
import type { Tally } from '../tally.ts';

/**
 * One of the queues that are compared. Each does the same work: a handler that does nothing, for payloads of some 60
 * bytes.
 */
export type Tool = {
  /** An empty queue in a database of its own. */
  create(server: Server): Promise<Queue>;
  /** In the worker's process. Claims when this resolves. @returns how to stop */
  work(options: WorkOptions, tally: Tally): Promise<() => Promise<void>>;
};

export type ToolName = 'rowmill' | 'graphile-worker' | 'pg-boss' | 'bullmq';

export type Queue = {
  tool: ToolName;
  url: string;
  /** Inserts jobs numbered from 1, the fastest way the tool has. */
  insert(count: number): Promise<void>;
  /** Jobs inserted since the queue was made that are not yet written down as finished. */
  left(): Promise<number>;
  close(): Promise<void>;
};

export type WorkOptions = {
  url: string;
  concurrency: number;
  /** graphile-worker: claims in batches, which is best for bulk. */
  localQueue: boolean;
  /** Serves a queue that has no jobs. */
  idle?: boolean;
  /** Rowmill: counts attempts for Prometheus and asks for traces, as `rowmill start` does. */
  observed?: boolean;
  /** Records what happens while jobs wait, and tells it of the slowest from this number on. */
  traceFrom?: number | undefined;
};

/** Of a job: its number, when it was sent (clock.ts), and what makes it some 60 bytes. */
export type Payload = { n?: number | undefined; sent?: number | undefined };
export const padding = 'x'.repeat(36);
