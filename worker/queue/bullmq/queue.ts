import { EventEmitter } from 'node:events';
import { withSchema } from '../../base/address.ts';
import { createPool, type Db } from '../../base/db/db.ts';
import { UsageError } from '../../base/errors.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import { surroundings } from '../../base/surroundings.ts';
import { addJobs, type Added } from '../client/add.ts';
import { again, checkQueue } from '../client/operate.ts';
import { kindNamed, queueNamed } from '../ingest/names.ts';
import { setSchedule } from '../schedule/schedules.ts';
import { checkOptions, columnsOf, scheduleOf, type JobsOptions } from './options.ts';

export type { JobsOptions } from './options.ts';

const sql = loadStatements(import.meta.dirname, 'bullmq.sql', ['job_shown', 'counts']);

export type QueueOptions = {
  /** Not used: the address of Postgres is in DATABASE_URL. */
  connection?: unknown;
  defaultJobOptions?: JobsOptions;
  /** Not used, as other options of BullMQ. */
  prefix?: string;
};

const states = [
  'waiting',
  'active',
  'completed',
  'failed',
  'delayed',
  'paused',
  'prioritized',
  'waiting-children',
] as const;
export type JobState = 'waiting' | 'active' | 'completed' | 'failed' | 'delayed' | 'unknown';

type Shown = {
  id: number;
  kind: string;
  payload: unknown;
  priority: number;
  attempt: number;
  max_retries: number;
  progress: number | null;
  result: unknown;
  error_code: string | null;
  error: string | null;
  dedupe_key: string | null;
  run_at: Date;
  created_at: Date;
  started_at: Date | null;
  completed_at: Date | null;
  state: JobState;
};

/** A job by the names of BullMQ, as it was when it was added or read. */
export class Job<Data = any, Result = any, Name extends string = string> {
  /** `jobId`, if it was given. */
  id: string;
  /** As it was added; of a job that was read, its kind. */
  name: Name;
  data: Data;
  opts: JobsOptions;
  timestamp = Date.now();
  attemptsMade = 0;
  progress = 0;
  returnvalue: Result | null = null;
  failedReason?: string;
  processedOn?: number;
  finishedOn?: number;
  readonly #queue: Queue;

  constructor(queue: Queue, name: Name, data: Data, opts: JobsOptions = {}, id = '') {
    this.#queue = queue;
    this.id = id;
    this.name = name;
    this.data = data;
    this.opts = opts;
  }

  get queueName(): string {
    return this.#queue.name;
  }

  /** As it is now; `unknown` if it was deleted. A cancelled job is `failed`. */
  async getState(): Promise<JobState> {
    return this.#queue.getJobState(this.id);
  }
}

/**
 * The Queue of BullMQ, for producers: its jobs become rows.
 *
 *     import { Queue } from 'rowmill/bullmq';
 *     const queue = new Queue('video-processing', { connection });
 *     await queue.add('process-video', { inputPath: 'uploads/a.mp4' });
 *
 * Queue and name of the job together are its kind, or an alias of one. Payloads are not checked here, and sensitive
 * values are sealed by a worker, shortly after the insert.
 */
export class Queue<Data = any, Result = any, Name extends string = string> extends EventEmitter {
  readonly name: string;
  readonly opts: QueueOptions;
  readonly #db: Db;
  readonly #queue: string;
  #closing: Promise<void> | undefined;

  /** @throws UsageError if DATABASE_URL is not set, or no address */
  constructor(name: string, options: QueueOptions = {}) {
    super();
    const { DATABASE_URL: address, ROWMILL_SCHEMA: schema } = surroundings().env;
    if (!address) throw new UsageError('DATABASE_URL: is not set: it is where rowmill/bullmq adds jobs');
    this.name = name;
    this.opts = options;
    this.#queue = queueNamed(name);
    this.#db = createPool(withSchema(address, schema || undefined), { max: 3, log: { warn() {} } });
  }

  /**
   * Resolves when the job is committed. A job with a known `jobId` is not added again.
   * @throws InvalidJob for an unknown queue, and for what Postgres refuses
   */
  async add(name: Name, data: Data, opts: JobsOptions = {}): Promise<Job<Data, Result, Name>> {
    if (opts.repeat) return this.#repeat(name, data, opts);
    const [job] = await this.addBulk([{ name, data, opts }]);
    return job!;
  }

  /** Adds all or none, by one insert. */
  async addBulk(jobs: readonly { name: Name; data: Data; opts?: JobsOptions }[]): Promise<Job<Data, Result, Name>[]> {
    const given = jobs.map(({ name, data, opts }) => ({
      name,
      data,
      opts: { ...this.opts.defaultJobOptions, ...opts },
    }));
    for (const { opts } of given) {
      checkOptions(opts);
      if (opts.repeat) throw new UsageError('repeat: use add(), which makes a schedule');
    }
    const rows = given.map(({ name, data, opts }) => ({ ...this.#kind(name), payload: data, ...columnsOf(opts) }));
    const added: Added[] = await again(() => addJobs(this.#db, rows));
    return given.map(({ name, data, opts }, n) => new Job(this, name, data, opts, opts.jobId ?? String(added[n]!.id)));
  }

  async #repeat(name: Name, data: Data, opts: JobsOptions): Promise<Job<Data, Result, Name>> {
    const all = { ...this.opts.defaultJobOptions, ...opts };
    checkOptions(all);
    const schedule = { ...scheduleOf(`${this.name}.${name}`, all), ...this.#kind(name), payload: data ?? {} };
    await setSchedule(this.#db, undefined, schedule);
    return new Job(this, name, data, all, `repeat:${schedule.name}`);
  }

  #kind(name: string): { queue: string; kind: string } {
    return kindNamed(`${this.name}.${name}`) ?? { queue: this.#queue, kind: name };
  }

  /** By its id, or by the `jobId` that it was added with. Sensitive values of its data may be sealed. */
  async getJob(id: string): Promise<Job<Data, Result, Name> | undefined> {
    const row = await this.#show(id);
    if (!row) return undefined;
    const { dedupe_key: key, kind, payload, priority, max_retries, completed_at, started_at } = row;
    const opts = { priority, attempts: max_retries + 1, ...(key === null ? {} : { jobId: key }) };
    const job = new Job<Data, Result, Name>(this, kind as Name, payload as Data, opts, key ?? String(row.id));
    return Object.assign(job, {
      timestamp: row.created_at.getTime(),
      attemptsMade: row.attempt,
      progress: row.progress ?? 0,
      returnvalue: row.result as Result | null,
      ...(row.error === null ? {} : { failedReason: `${row.error_code}: ${row.error}` }),
      ...(started_at ? { processedOn: started_at.getTime() } : {}),
      ...(completed_at ? { finishedOn: completed_at.getTime() } : {}),
    });
  }

  async getJobState(id: string): Promise<JobState> {
    return (await this.#show(id))?.state ?? 'unknown';
  }

  async #show(id: string): Promise<Shown | undefined> {
    const [row] = await query<Shown>(this.#db, sql.job_shown, {
      queue: this.#queue,
      ...(/^\d{1,15}$/.test(id) ? { id: Number(id), key: null } : { id: null, key: id }),
    });
    return row;
  }

  /**
   * How many jobs there are of each state, in all or in these. Several queues of BullMQ may be one of Rowmill: all its
   * jobs are counted.
   * @throws UsageError for an unknown queue
   */
  async getJobCounts(...types: string[]): Promise<Record<string, number>> {
    const [row] = await query<Record<string, number> & { paused: boolean }>(this.#db, sql.counts, {
      queue: this.#queue,
    });
    if (!row) await checkQueue(this.#db, this.#queue);
    const { paused, ...depth } = row!;
    const { waiting = 0 } = depth;
    const counts: Record<string, number> = { ...depth, waiting: paused ? 0 : waiting, paused: paused ? waiting : 0 };
    counts['wait'] = counts['waiting']!;
    const wanted = types.length > 0 ? types : states;
    return Object.fromEntries(wanted.map((type) => [type, counts[type] ?? 0]));
  }

  /** Closes the connections. */
  async close(): Promise<void> {
    return (this.#closing ??= this.#db.end());
  }
}
