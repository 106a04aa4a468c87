import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPool, isTransient, type Db } from '../../worker/base/db/db.ts';
import { openEmbeddedPostgres } from '../../worker/embedded/postgres.ts';
import { serverOn } from '../../worker/embedded/server.ts';
import { install } from '../../worker/queue/install/install.ts';
import { useCluster } from '../support/cluster.ts';
import { silent } from '../support/log.ts';
import { kindNames, kinds } from './kinds.ts';
import { scratch } from '../support/scratch.ts';

/**
 * What the run stands on: a Postgres of its own that keeps what it has committed, with our tables, and a place for
 * logs.
 */
export type Ground = {
  url: string;
  dir: string;
  /** The chaos run's own connections, which the history knows from the engine's. */
  db: Db;
  /** Crashes Postgres, and brings it up again on the same port and data. */
  restart(): Promise<void>;
  close(): Promise<void>;
};

export async function prepareGround(): Promise<Ground> {
  const dir = await mkdtemp(join(scratch, 'rowmill-chaos-'));
  // As root the server runs as another user.
  await chmod(dir, 0o755);
  await useCluster(dir);
  let postgres = await openEmbeddedPostgres(dir);
  const { url, dataPath } = postgres;
  await install(url);
  const db = createPool(url, { max: 4, log: silent, setUp: `set application_name = 'chaos'`, queryTimeoutMs: 120_000 });
  await db.query(await readFile(join(import.meta.dirname, 'schema.sql'), 'utf8'));
  for (const name of kindNames) {
    const { completes, fails, commits } = kinds[name];
    await db.query('insert into kinds values ($1, $2, $3, $4)', [name, completes, fails, commits]);
  }
  // Failures come back at once; no run lasts for real backoffs.
  await db.query('update queues set backoff_ms = 50, max_retries = 3');
  // The fleet does not serve cleanup: a job of the nightly schedule would count as stuck.
  await db.query('update schedules set enabled = false');

  return {
    url,
    dir,
    db,
    async restart() {
      const server = await serverOn(dataPath);
      if (server) {
        // What pg_ctl -m immediate sends.
        process.kill(server.pid, 'SIGQUIT');
        while (lives(server.pid)) await sleep(10);
      }
      postgres = await openEmbeddedPostgres(dir);
      if (postgres.url !== url) throw new Error('Postgres came up at another address');
    },
    async close() {
      await db.end();
      await postgres.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Until Postgres answers: what may be asked again is asked again. */
export async function persist<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isTransient(error)) throw error;
      await sleep(100);
    }
  }
}
