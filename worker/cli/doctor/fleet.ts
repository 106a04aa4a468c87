import { createPool } from '../../base/db.ts';
import { createLog } from '../../base/log.ts';
import { fleetStatus } from '../../queue/operate.ts';
import { attention } from '../attention.ts';
import { count } from '../output.ts';
import { ok, warn, type Check } from './check.ts';

const names = { workers: 'workers', paused: 'queues', waiting: 'queues', dead_letters: 'dead letters' } as const;

/** Nothing of this keeps Rowmill from working, so there are no failures here. */
export async function checkFleet(url: string): Promise<Check[]> {
  const db = createPool(url, { max: 1, log: createLog({ logLevel: 'silent', secrets: [] }) });
  try {
    const fleet = await fleetStatus(db);
    const needs = attention(fleet);
    const alive = fleet.workers.filter((worker) => worker.alive).length;
    const fine: Record<string, string> = {
      workers: `${count(alive, 'worker')} alive`,
      queues: `${count(fleet.queues.length, 'queue')}, none paused or late`,
      'dead letters': 'none',
    };
    return Object.entries(fine).flatMap(([name, detail]) => {
      const found = needs.filter((need) => names[need.name] === name);
      return found.length > 0 ? found.map(({ what, mend }) => warn(name, what, mend)) : [ok(name, detail)];
    });
  } finally {
    await db.end();
  }
}
