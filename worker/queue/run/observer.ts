import type { Log } from '../../base/log.ts';
import type { JobRow } from '../job.ts';

/**
 * The outcome of an attempt. It has the code of an error, and where an unforeseen one arose (`at`), but never its
 * message: messages quote payloads, keys, addresses and answers of services. They are in the row, for people who may
 * read it.
 */
export type Ended =
  | { outcome: 'completed' }
  | { outcome: 'retry' | 'fail'; error_code: string; status: 'pending' | 'failed'; retry_count: number; at?: string }
  | { outcome: 'snooze'; delay_ms: number; reason: string }
  | { outcome: 'held'; dependency: string; error_code: string }
  | { outcome: 'dropped'; reason: string }
  /** Postgres refused or lost the outcome: the job is retried as `worker_lost`. */
  | { outcome: 'unwritten' };

/**
 * The one interface for telemetry: log lines, metrics and traces use it. Each `started` is followed by one `ended`; the
 * next attempt of a job may start before `ended` of this one is called. Both are called while the job waits, so they
 * must be quick.
 */
export type Observer = {
  /**
   * An attempt begins.
   * @param waited_ms since the job was due, or since it was inserted if that was later; by the clock of Postgres
   */
  started(job: Readonly<JobRow>, waited_ms: number): void;
  /** Its outcome is written. */
  ended(job: Readonly<JobRow>, ended: Ended, duration_ms: number): void;
  /** Calls the handler of these jobs, such as within the context of a trace, and gives what it gives. */
  within?<T>(jobs: readonly Readonly<JobRow>[], handler: () => T): T;
};

/** Calls all of them. An error in one is logged, and harms neither the job nor the others. */
export function observeAll(observers: readonly Observer[], log: Log): Required<Observer> {
  const surrounding = observers.filter((observer) => observer.within !== undefined);
  const failed = (error: unknown) => log.error({ err: error }, 'an observer failed');
  return {
    started(job, waited_ms) {
      for (const observer of observers)
        try {
          observer.started(job, waited_ms);
        } catch (error) {
          failed(error);
        }
    },
    ended(job, ended, duration_ms) {
      for (const observer of observers)
        try {
          observer.ended(job, ended, duration_ms);
        } catch (error) {
          failed(error);
        }
    },
    within: (jobs, handler) => surrounding.reduce((inner, observer) => () => observer.within!(jobs, inner), handler)(),
  };
}

/** One line in the log for each attempt. */
export const logAttempts = (log: Log): Observer => ({
  started() {},
  ended({ queue, kind, id, attempt }, ended, duration_ms) {
    const level = ended.outcome === 'completed' ? 'info' : 'warn';
    if (log.isLevelEnabled(level))
      log[level]({ queue, kind, job_id: id, attempt, ...ended, duration_ms }, 'attempt ended');
  },
});
