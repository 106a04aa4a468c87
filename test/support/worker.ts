import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mkdtemp, rm } from 'node:fs/promises';
import { z } from 'zod';
import { createApp, type App } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { job, type JobContext } from '../../worker/queue/job.ts';
import type { Timing } from '../../worker/queue/claim/waking.ts';
import type { Registry } from '../../worker/queue/registry.ts';
import type { Observer } from '../../worker/queue/run/observer.ts';
import { startWorker, type Worker } from '../../worker/queue/worker.ts';
import { install } from '../../worker/queue/install/install.ts';
import type { Queryable } from '../../worker/base/db/sql.ts';
import { ffmpeg, ffmpegEnv } from './clips.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { eventually } from './eventually.ts';
import { silent } from './log.ts';

export type Handler = (context: JobContext<Record<string, unknown>>) => Promise<unknown>;
export type Env = Record<string, string>;

/** A database and as many workers on it as a test wants, each with handlers of the test's own. */
export type Rig = {
  db: TestDatabase;
  /**
   * Starts a worker in this process, with all kinds there are, or with
   * `{ 'media.echo': async ({ payload }) => payload }`.
   */
  worker(
    handlers: Registry | Record<string, Handler>,
    env?: Env,
    options?: { url?: string; observers?: Observer[]; timing?: Timing },
  ): Promise<Worker & { app: App }>;
  close(): Promise<void>;
};

/** @param beside the user's own tables, as SQL: made before ours. @param schema for ours; default: public */
export async function createRig({ beside, schema }: { beside?: string; schema?: string } = {}): Promise<Rig> {
  const db = await createDatabase(beside || schema ? { from: 'template0', schema } : {});
  if (beside) await db.query(`set search_path to public; ${beside}; ${schema ? `set search_path to ${schema}` : ''}`);
  if (beside || schema) await install(db.url);
  // Else a job of the nightly schedule comes to a test that runs at that moment.
  await db.query(`update schedules set enabled = false`);
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-rig-'));
  const started: { worker: Worker; app: App }[] = [];
  return {
    db,
    async worker(handlers, env = {}, { url = db.url, observers = [], timing } = {}) {
      const config = loadConfig({
        DATA_DIR: dir,
        SHUTDOWN_TIMEOUT: '2000',
        WORKER_POLL_INTERVAL: '200',
        NODE_ENV: 'test',
        // Any test of the engine can be run with fewer: TEST_CONNECTIONS=6.
        DATABASE_CONNECTIONS: process.env['TEST_CONNECTIONS'] ?? '',
        ...env,
      });
      const app = createApp(config, url, silent);
      // One of the same settings, which has looked already what there is: that takes seven runs.
      if (Object.entries(ffmpegEnv).every(([name, value]) => env[name] === value)) app.ffmpeg = ffmpeg;
      const registry =
        handlers instanceof Map ? (handlers as Registry) : registryOf(handlers as Record<string, Handler>);
      const worker = await startWorker(app, url, registry, { observers, timing });
      started.push({ worker, app });
      return Object.assign(worker, { app });
    },
    async close() {
      await Promise.all(started.map(({ worker }) => worker.stop()));
      await Promise.all(started.map(({ app }) => app.close()));
      await db.drop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/**
 * Writes these columns of a queue's row, and waits until the workers of this process follow them: they pause the queue
 * first, unless it stays paused.
 */
export async function setQueue(
  db: Queryable,
  workers: Pick<Worker, 'activity'>[],
  name: string,
  { paused = false, ...others }: Record<string, unknown>,
): Promise<void> {
  for (const pausedNow of new Set([true, paused])) {
    const row = { ...others, paused: pausedNow };
    const columns = Object.keys(row).map((column, index) => `${column} = $${index + 2}`);
    await db.query(`update queues set ${columns.join(', ')} where name = $1`, [name, ...Object.values(row)]);
    await eventually(() => {
      for (const worker of workers)
        assert.equal(worker.activity().find(({ queue }) => queue === name)?.paused, pausedNow);
    });
  }
}

function registryOf(handlers: Record<string, Handler>): Registry {
  const payload = z.record(z.string(), z.unknown());
  return new Map(Object.entries(handlers).map(([name, run]) => [name, job({ name, payload, run })]));
}
