import { setTimeout as sleep } from 'node:timers/promises';
import type { Child } from './child.ts';
import { now } from './clock.ts';
import { cpuMs } from './cpu.ts';
import type { Database } from './server.ts';

export type Cost = { cpu: number; commits: number };

/** ms of CPU a second, of processes and of the connections named `idle`; and the whole database's commits a second. */
export async function watch(db: Database, processes: Child[], seconds: number): Promise<Cost> {
  const pids = async () => [...processes.map(({ pid }) => pid), ...(processes.length > 0 ? await backends(db) : [])];
  const first = new Map<number, number>();
  const last = new Map<number, number>();
  const sample = async (isFirst: boolean) => {
    for (const pid of await pids()) {
      // A connection that ended meanwhile keeps what it was last seen with.
      const ms = await cpuMs(pid).catch(() => last.get(pid) ?? 0);
      if (!first.has(pid)) first.set(pid, isFirst ? ms : 0);
      last.set(pid, ms);
    }
  };
  await sample(true);
  const from = await commits(db);
  const began = now();
  for (let second = 0; second < seconds; second++) {
    await sleep(1_000);
    await sample(false);
  }
  // On a busy machine the samples take their time.
  const elapsed = (now() - began) / 1_000;
  const used = [...last].reduce((sum, [pid, ms]) => sum + ms - first.get(pid)!, 0);
  return { cpu: used / elapsed, commits: ((await commits(db)) - from) / elapsed };
}

async function backends(db: Database): Promise<number[]> {
  const { rows } = await db.query<{ pid: number }>(
    `select pid from pg_stat_activity where application_name = 'idle' and datname = current_database()`,
  );
  return rows.map(({ pid }) => pid);
}

async function commits(db: Database): Promise<number> {
  const { rows } = await db.query<{ commits: number }>(
    'select xact_commit as commits from pg_stat_database where datname = current_database()',
  );
  return rows[0]!.commits;
}
