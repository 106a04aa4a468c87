import type { Tx } from '../../base/db/db.ts';
import { bind, loadStatements, query } from '../../base/db/sql.ts';
import { failLost, type Lost } from '../run/lost.ts';
import { addLost } from './rollups.ts';

const sql = loadStatements(import.meta.dirname, 'lost-jobs.sql', ['jobs_of']);

/** Retries the jobs of a dead worker as `worker_lost`. @returns how many it ran */
export async function retryJobsOf(tx: Tx, { id, queues }: { id: string; queues: string[] }): Promise<number> {
  const lost: Lost[] = [];
  let ran = 0;
  for (const queue of queues) {
    const running = bind(sql.jobs_of, { live: `${queue}_jobs_live` });
    const jobs = await query<{ id: number; attempt: number }>(tx, running, { worker: id });
    lost.push(...(await failLost(tx, queue, id, jobs)));
    ran += jobs.length;
  }
  await addLost(tx, lost);
  return ran;
}
