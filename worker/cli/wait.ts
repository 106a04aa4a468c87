import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient, type Db } from '../base/db/db.ts';
import { withRetries } from '../base/retry.ts';
import { surroundings } from '../base/surroundings.ts';
import { fleetStatus, showJob, type Job } from '../queue/client/operate.ts';
import { Failed } from './faults.ts';
import { cut, duration, note, plain } from './output.ts';

const pollEveryMs = 200;

/**
 * Follows a job until it has ended: with a progress bar on a terminal, otherwise with a line for each change. It prints
 * to stderr, because stdout is for results. Ctrl-C does not touch the job. If the database goes away for a while, it
 * waits.
 * @throws Failed if the job was deleted
 */
export async function follow(db: Db, id: number, { quiet }: { quiet: boolean }): Promise<Job> {
  const display = quiet ? silence : surroundings().stderr.isTTY ? bar() : lines();
  const leave = () => {
    display.end();
    if (!quiet) note(`Job ${id} goes on: rowmill show ${id}`);
    process.exit(130);
  };
  process.once('SIGINT', leave);
  try {
    for (let polls = 0; ; polls++) {
      const job = await readJob(db, id);
      if (!job) throw new Failed(`Job ${id} was deleted`);
      display.show(job);
      if (job.completed_at) return job;
      // Not at once: a worker may have claimed this job already.
      if (polls === 5 && job.status === 'pending') await warnIfNobodyWorks(db, job, display);
      await sleep(pollEveryMs);
    }
  } finally {
    display.end();
    process.off('SIGINT', leave);
  }
}

/** Postgres may be away for about a minute. */
function readJob(db: Db, id: number): Promise<Job | undefined> {
  const passing = (error: unknown) => (isTransient(error) ? {} : undefined);
  return withRetries(() => showJob(db, id), passing, undefined, { waitMs: 1_000, longestMs: 1_000, budgetMs: 60_000 });
}

async function warnIfNobodyWorks(db: Db, { queue }: Job, display: Display): Promise<void> {
  const { queues, workers } = await fleetStatus(db);
  if (queues.some((row) => row.queue === queue && row.paused))
    display.say(`Queue ${queue} is paused: rowmill resume ${queue}`);
  else if (!workers.some((worker) => worker.alive && worker.queues.includes(queue)))
    display.say(`No worker that serves queue ${queue} is running: rowmill start`);
}

type Display = { show(job: Job): void; say(text: string): void; end(): void };

const silence: Display = { show: () => {}, say: note, end: () => {} };

function lines(): Display {
  let last = '';
  return {
    show(job) {
      const now = describe(job);
      if (now !== last) note(`job ${job.id} ${now}`);
      last = now;
    },
    say: note,
    end: () => {},
  };
}

function bar(): Display {
  let drawn = false;
  let seen = { state: '', since: 0 };
  const clear = () => {
    if (drawn) surroundings().stderr.write('\r\x1b[K');
    drawn = false;
  };
  return {
    show(job) {
      const now = Date.now();
      const state = `${job.attempt} ${job.progress}`;
      if (state !== seen.state) seen = { state, since: now };
      clear();
      surroundings().stderr.write(drawing(job, left(job, seen.since, now), surroundings().stderr.columns || 80));
      drawn = true;
    },
    say(text) {
      clear();
      note(text);
    },
    end() {
      if (drawn) surroundings().stderr.write('\n');
      drawn = false;
    },
  };
}

/** The text is more important than the bar: on a narrow terminal, the bar is short or left out. */
export function drawing(job: Job, end: string, columns: number): string {
  const width = Math.min(24, columns - widestText);
  return cut(`${width < 8 ? '' : `${track(job, width)}  `}${describe(job)}${end}`, columns - 1);
}

const widestText = '[]  processing, attempt 10, 100 %, 59 min left '.length;

function track({ status, progress }: Job, width: number): string {
  const done = status === 'completed' ? width : Math.floor(((progress ?? 0) / 100) * width);
  return `[${'#'.repeat(done)}${'.'.repeat(width - done)}]`;
}

/**
 * How long a running job will still take, if it goes on at the speed that it had until `since`, when it reached this
 * progress: `, 5 min left`. Empty if there is too little to go by, or if that time is over.
 */
export function left(
  { status, progress, started_at }: Pick<Job, 'status' | 'progress' | 'started_at'>,
  since: number,
  now: number,
): string {
  if (status !== 'processing' || !started_at || progress === null) return '';
  const ran = (since - started_at.getTime()) / 1_000;
  if (ran < 3 || progress < 3) return '';
  const seconds = (ran / progress) * (100 - progress) - (now - since) / 1_000;
  return seconds < 0 ? '' : `, ${duration(seconds)} left`;
}

/** Without running times, so that it changes only when the job does. */
function describe(job: Job): string {
  switch (job.status) {
    case 'processing':
      return `processing, attempt ${job.attempt}${job.progress === null ? '' : `, ${job.progress} %`}`;
    case 'pending':
      return pending(job);
    case 'completed':
      return `completed in ${took(job)}`;
    case 'failed':
    case 'cancelled':
      return job.status;
  }
}

function pending({ attempt, retry_count, max_retries, created_at, run_at, error_code, error }: Job): string {
  const due = run_at.getTime() - created_at.getTime() > 500 ? `, due at ${run_at.toISOString()}` : '';
  if (retry_count === 0) return `pending${due}`;
  const failure = `attempt ${attempt} failed with ${error_code}: ${plain(error ?? '')}`;
  return `pending${due}, retry ${retry_count} of ${max_retries}: ${failure}`;
}

function took({ started_at, completed_at }: Job): string {
  if (!started_at || !completed_at) return 'no time';
  const ms = completed_at.getTime() - started_at.getTime();
  return ms < 10_000 ? `${(ms / 1_000).toFixed(1)} s` : duration(ms / 1_000);
}
