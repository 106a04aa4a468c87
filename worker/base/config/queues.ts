import { group } from './group.ts';
import { integer, list } from './values.ts';

/** Which queues this process serves, how it finds their jobs, and how workers watch each other. */
export const queues = group({
  settings: {
    QUEUES: list.refine((names) => names.length > 0, 'names no queue').optional(),
    CONCURRENCY: integer(1, 1000).optional(),
    WORKER_CONCURRENCY: integer(1, 1000).optional(),
    WORKER_POLL_INTERVAL: integer(100, 600_000).default(2000),
    MAX_RETRIES: integer(0, 1000).optional(),
    BACKOFF_DELAY: integer(0, 86_400_000).optional(),
    HEARTBEAT_INTERVAL: integer(100, 60_000).default(5_000),
    WORKER_DEAD_AFTER: integer(1_000, 600_000).default(30_000),
    SWEEP_INTERVAL: integer(100, 60_000).default(1_000),
    INCIDENT_CHECK_INTERVAL: integer(100, 600_000).default(10_000),
  },
  // Otherwise a worker could be declared dead between two of its heartbeats.
  faults: (_, env) =>
    env && env.WORKER_DEAD_AFTER < 2 * env.HEARTBEAT_INTERVAL
      ? ['WORKER_DEAD_AFTER: must be at least twice HEARTBEAT_INTERVAL']
      : [],
  read: (env) => ({
    /** Undefined: all queues. */
    queues: env.QUEUES,
    publishConcurrency: env.CONCURRENCY,
    otherConcurrency: env.WORKER_CONCURRENCY,
    pollIntervalMs: env.WORKER_POLL_INTERVAL,
    maxRetries: env.MAX_RETRIES,
    backoffMs: env.BACKOFF_DELAY,
    heartbeatMs: env.HEARTBEAT_INTERVAL,
    deadAfterMs: env.WORKER_DEAD_AFTER,
    sweepMs: env.SWEEP_INTERVAL,
    incidentCheckMs: env.INCIDENT_CHECK_INTERVAL,
  }),
});
