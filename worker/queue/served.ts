import type { Config } from '../base/config/config.ts';
import { UsageError } from '../base/errors.ts';
import type { Registry } from './registry.ts';

// Which queues this process serves, and with how many slots.

/** What a row of `queues` tells a worker. */
export type QueueRow = {
  name: string;
  paused: boolean;
  batch_size: number;
  timeout_ms: number | null;
  rate_limit: number | null;
};

const defaultConcurrency: Record<string, number> = {
  publish: 3,
  media: 2,
  notification: 5,
  social: 2,
  analytics: 2,
  cleanup: 1,
};

/** The queues that QUEUES names, or all. @throws UsageError if it names one that the database does not have */
export function servedQueues<Row extends { name: string }>(rows: Row[], wanted: string[] | undefined): Row[] {
  if (!wanted) return rows;
  const unknown = wanted.filter((name) => !rows.some((row) => row.name === name));
  if (unknown.length > 0)
    throw new UsageError(
      `QUEUES: there is no queue ${unknown.join(', ')}; there are ${rows.map((row) => row.name).join(', ')}`,
    );
  return rows.filter((row) => wanted.includes(row.name));
}

/** @throws UsageError for a kind whose queue the database does not have */
export function checkQueuesOf(registry: Registry, rows: readonly { name: string }[]): void {
  for (const kind of registry.keys()) {
    const [queue] = kind.split('.');
    if (!rows.some(({ name }) => name === queue))
      throw new UsageError(`There is no queue ${queue}, which the kind ${kind} needs: run rowmill queue add ${queue}`);
  }
}

/** CONCURRENCY is for the queue publish, WORKER_CONCURRENCY for all others. */
export function concurrencyOf(queue: string, config: Config): number {
  const set = queue === 'publish' ? config.publishConcurrency : config.otherConcurrency;
  return set ?? defaultConcurrency[queue] ?? 2;
}
