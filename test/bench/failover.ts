import { chown, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPool, type Db } from '../../worker/base/db/db.ts';
import { silent } from '../support/log.ts';
import { spawnWorker, type WorkerProcess } from '../support/processes.ts';
import { startProxy, type Proxy } from '../support/proxy.ts';
import { startOwnServer, type OwnServer } from '../support/server.ts';
import { now } from './clock.ts';
import type { Bench } from './measure.ts';
import { atMost, median, type Result } from './result.ts';

const budgetMs = 10_000;

/** A worker's way to its Postgres, and a connection of our own that never goes through the proxy. */
type Ground = { server: OwnServer; proxy: Proxy; db: Db };

/** Each ends with the server writable and reachable again. */
const faults: Record<string, (ground: Ground, seconds: number) => Promise<void>> = {
  async restart({ server }, seconds) {
    await server.stop();
    await sleep(seconds * 1_000);
    await server.start();
  },
  async promotion({ server, db }, seconds) {
    await server.stop();
    await signalFile(server, 'standby.signal');
    await server.start();
    await sleep(seconds * 1_000);
    await signalFile(server, 'promote');
    process.kill(Number((await readFile(join(server.data, 'postmaster.pid'), 'utf8')).split('\n')[0]), 'SIGUSR1');
    await until(async () => {
      const { rows } = await db.query<{ standby: boolean }>('select pg_is_in_recovery() as standby');
      return !rows[0]!.standby;
    });
  },
  async 'read-only'({ db }, seconds) {
    const set = (how: string) => db.query(`alter database rowmill ${how}`);
    await set('set default_transaction_read_only = on');
    const others = `select pg_terminate_backend(pid) from pg_stat_activity where usename = session_user
                    and pid <> pg_backend_pid()`;
    await db.query(others);
    await sleep(seconds * 1_000);
    await set('reset default_transaction_read_only');
  },
  async 'frozen proxy'({ proxy }, seconds) {
    proxy.freeze();
    await sleep(seconds * 1_000);
    proxy.thaw();
  },
  async 'half-open sockets'({ proxy }) {
    proxy.lose();
  },
};

/**
 * From the moment at which the server is writable and can be reached again until a job that is inserted then has run.
 * Settings as shipped; the worker goes through a proxy that can go silent.
 */
export async function failover({ faults: runs, faultSeconds }: Bench): Promise<Result[]> {
  const server = await startOwnServer();
  const proxy = await startProxy(server.url);
  const db = createPool(server.url, { max: 2, log: silent });
  const worker = await spawnWorker(proxy.url, { WORKER_POLL_INTERVAL: '2000' });
  const results: Result[] = [];
  try {
    for (const [name, fault] of Object.entries(faults)) {
      const waits: number[] = [];
      for (let run = 0; run < runs; run++) {
        await settled(db, worker);
        await fault({ server, proxy, db }, faultSeconds);
        const at = now();
        await jobRuns(db);
        waits.push(now() - at);
        console.error(`  ${name} ${run + 1} of ${runs}: ${Math.round(waits.at(-1)!)} ms`);
      }
      const against = (ours: number) => ({ ours, anchor: budgetMs, unit: 'ms' });
      results.push(
        atMost(1, `failover, ${name}, median of ${runs}, against a budget`, against(median(waits))),
        atMost(1, `failover, ${name}, longest of ${runs}`, against(Math.max(...waits))),
      );
    }
    return results;
  } finally {
    await worker.end('SIGKILL');
    await proxy.close();
    await db.end();
    await server.close();
  }
}

/** At rest, and at any moment between two polls. */
async function settled(db: Db, worker: WorkerProcess): Promise<void> {
  await until(async () => (await worker.ask()).trouble === null);
  await jobRuns(db);
  await sleep(2_000 + Math.random() * 2_000);
}

async function jobRuns(db: Db): Promise<void> {
  let id: number | undefined;
  await until(async () => {
    const insert = `insert into media_jobs (kind) values ('slow') returning id`;
    id ??= (await db.query<{ id: number }>(insert)).rows[0]!.id;
    const { rows } = await db.query<{ status: string }>('select status from media_jobs where id = $1', [id]);
    return rows[0]!.status === 'completed';
  });
}

/** Asks until it is so; a Postgres that is away says nothing. */
async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check().catch(() => false))) await sleep(20);
}

async function signalFile({ data }: OwnServer, name: string): Promise<void> {
  const path = join(data, name);
  await writeFile(path, '');
  const { uid, gid } = await stat(data);
  if (process.getuid?.() === 0) await chown(path, uid, gid);
}
