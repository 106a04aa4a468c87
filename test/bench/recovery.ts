import { setTimeout as sleep } from 'node:timers/promises';
import { spawnWorker } from '../support/processes.ts';
import { now } from './clock.ts';
import type { Bench } from './measure.ts';
import { atMost, median, type Result } from './result.ts';
import type { Database } from './server.ts';

const jobs = 40;
const budgetMs = 2_000;

/**
 * From `kill -9` of one of two workers until all its jobs, which take long, run on the other, both having
 * worked for a while. Settings as shipped.
 */
export async function recovery({ server, kills, settleSeconds }: Bench): Promise<Result[]> {
  const db = await server.create('rowmill');
  const spawn = () => spawnWorker(db.url, { WORKER_CONCURRENCY: String(jobs), WORKER_POLL_INTERVAL: '2000' });
  const waits: number[] = [];
  let victim = await spawn();
  try {
    await db.query(
      `insert into media_jobs (kind, payload, max_retries)
       select 'slow', '{"ms": 3600000}', 1000 from generate_series(1, $1)`,
      [jobs],
    );
    await allRunOn(db, victim.id);
    for (let kill = 0; kill < kills; kill++) {
      const other = await spawn();
      await sleep(settleSeconds * 1_000);
      const at = now();
      victim.child.kill('SIGKILL');
      await allRunOn(db, other.id);
      waits.push(now() - at);
      victim = other;
    }
  } finally {
    await victim.end('SIGKILL');
    await db.drop();
  }
  const against = (ours: number) => ({ ours, anchor: budgetMs, unit: 'ms' });
  return [
    atMost(1, `recovery, median of ${kills} kills, against a budget`, against(median(waits))),
    atMost(1, `recovery, longest of ${kills}, against a budget`, against(Math.max(...waits))),
  ];
}

async function allRunOn(db: Database, worker: string): Promise<void> {
  for (;;) {
    const { rows } = await db.query<{ running: number }>(
      `select count(*) as running from media_jobs_live where status = 'processing' and locked_by = $1`,
      [worker],
    );
    if (rows[0]!.running === jobs) return;
    await sleep(10);
  }
}
