import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createApp } from '../app.ts';
import { loadConfig } from '../base/config/config.ts';
import type { Db } from '../base/db/db.ts';
import { loadStatements, query } from '../base/db/sql.ts';
import { createLog } from '../base/log.ts';
import { surroundings } from '../base/surroundings.ts';
import { addJob, type Added } from '../queue/client/add.ts';
import {
  createClient,
  NotCompleted,
  type Client,
  type Job,
  type JobOptions,
  type Kind,
} from '../queue/client/client.ts';
import { queueNames } from '../queue/client/operate.ts';
import { install } from '../queue/install/install.ts';
import { addQueue } from '../queue/install/queues.ts';
import { loadRegistry, type Registry } from '../queue/registry.ts';
import type { InputOf, StandardSchema } from '../queue/schema.ts';
import { startWorker } from '../queue/worker.ts';
import { createTestDatabase } from './database.ts';

export type { Job };

const sql = loadStatements(import.meta.dirname, 'testing.sql', ['disable_schedules', 'unsettled', 'advance']);

export type TestWorkerOptions = {
  /** The folder of your kinds. Default: the kinds of Rowmill alone. */
  jobs?: string;
  /** The folder of your migrations. */
  migrations?: string;
  /** A database of yours, for tests. Default: a new one on an embedded Postgres, dropped when the worker stops. */
  databaseUrl?: string;
  /** Default: the queues of your kinds; without any, all. */
  queues?: string[];
  /**
   * Settings, as in the environment of a worker. The environment of this process is not read. By default LOG_LEVEL is
   * silent and BACKOFF_DELAY is 0.
   */
  env?: Record<string, string>;
};

export type TestWorker = AsyncDisposable & {
  databaseUrl: string;
  /** For your own tables. */
  db: Db;
  client: Client;
  run: Run;
  /**
   * Resolves when no job of the served queues is running, and none is due.
   * @throws Error that names such jobs, after `timeoutMs`: 30 seconds, if not given
   */
  settled(options?: { timeoutMs?: number }): Promise<void>;
  /** Moves `run_at` and `expires_at` of pending jobs this much earlier. Clocks and schedules do not change. */
  advance(ms: number): Promise<void>;
  stop(): Promise<void>;
};

/**
 * Adds a job and waits until it has ended. Retries follow at once; a job that snoozes waits for `advance`.
 * @returns its row, also of a job that failed or was cancelled
 * @throws InvalidJob for a payload that does not fit; Error for a queue that this worker does not serve
 */
type Run = {
  <Schema extends StandardSchema>(kind: Kind<Schema>, payload: InputOf<Schema>, options?: JobOptions): Promise<Job>;
  (kind: string, payload: unknown, options?: JobOptions): Promise<Job>;
};

/**
 * A worker for tests, in this process:
 *
 *     await using worker = await startTestWorker({ jobs: './jobs' });
 *     const row = await worker.run('notification.hello', { to: 'you' });
 *     assert.equal(row.status, 'completed');
 *
 * Queues that the kinds need and the database lacks are created.
 */
export async function startTestWorker(options: TestWorkerOptions = {}): Promise<TestWorker> {
  const registry = await loadRegistry(options.jobs && resolve(options.jobs));
  await using starting = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-testing-'));
  starting.defer(() => rm(dir, { recursive: true, force: true }));
  const databaseUrl = options.databaseUrl ?? (await newDatabase(starting));
  await install(databaseUrl, [], options.migrations && resolve(options.migrations));

  const config = await configOf(options, registry, dir);
  const app = createApp({ ...config, databaseUrl }, databaseUrl, createLog(config));
  starting.defer(app.close);
  if (options.databaseUrl === undefined) await query(app.db, sql.disable_schedules);
  const names = await queueNames(app.db);
  for (const name of queuesOf(registry.keys())) if (!names.includes(name)) await addQueue(databaseUrl, { name });
  const worker = await startWorker(app, databaseUrl, registry);
  starting.defer(() => worker.stop());
  const sealKeys = options.env?.['SEAL_KEYS'];
  const client = createClient(databaseUrl, sealKeys ? { sealKeys } : {});
  starting.defer(client.close);

  const started = starting.move();
  const stop = () => started.disposeAsync();
  const { db } = app;
  return {
    databaseUrl,
    db,
    client,
    run: async (kind: Kind | string, payload: unknown, columns: JobOptions = {}) => {
      const [queue = '', name = ''] = (typeof kind === 'string' ? kind : kind.name).split('.');
      if (!worker.queues.includes(queue))
        throw new Error(`This test worker does not serve queue ${queue}, but ${worker.queues.join(', ')}`);
      return runJob(client, () => addJob(db, registry, { queue, kind: name, payload, ...columns }, config.keyring));
    },
    settled: ({ timeoutMs = 30_000 } = {}) => settled(db, worker.queues, timeoutMs),
    advance: async (ms) => void (await query(db, sql.advance, { ms })),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function newDatabase(stack: AsyncDisposableStack): Promise<string> {
  const database = await createTestDatabase();
  stack.defer(database.drop);
  return database.url;
}

async function configOf({ jobs, queues, env }: TestWorkerOptions, registry: Registry, dir: string) {
  const box = await loadRegistry();
  const own = queuesOf(registry.keys().filter((name) => !box.has(name)));
  const served = queues ?? (jobs === undefined ? [] : own);
  return loadConfig({
    PATH: surroundings().env['PATH'],
    NODE_ENV: 'test',
    LOG_LEVEL: 'silent',
    DATA_DIR: dir,
    TEMP_DIR: dir,
    WORKER_POLL_INTERVAL: '200',
    SHUTDOWN_TIMEOUT: '2000',
    BACKOFF_DELAY: '0',
    QUEUES: served.join(','),
    ...env,
  });
}

const queuesOf = (kinds: Iterable<string>) => [...new Set(Array.from(kinds, (kind) => kind.split('.')[0]!))];

async function runJob(client: Client, add: () => Promise<Added>): Promise<Job> {
  const { id } = await add();
  try {
    return await client.wait(id);
  } catch (error) {
    if (error instanceof NotCompleted && error.job) return error.job;
    throw error;
  }
}

async function settled(db: Db, queues: string[], timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const left = await query<{ id: number; name: string; status: string }>(db, sql.unsettled, { queues });
    if (left.length === 0) return;
    if (performance.now() > deadline) {
      const jobs = left.map(({ id, name, status }) => `${name} ${id} is ${status}`);
      throw new Error(`Jobs have not settled within ${timeoutMs} ms: ${jobs.join(', ')}`);
    }
    await sleep(20);
  }
}
