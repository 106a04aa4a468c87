import { createPool } from '../../base/db/db.ts';
import { UsageError } from '../../base/errors.ts';
import { createLog } from '../../base/log.ts';
import type { FleetQueue, FleetWorker } from '../../queue/client/operate.ts';
import { readFleet } from '../../queue/client/trouble.ts';
import { version } from '../../queue/fleet/version.ts';
import { servedQueues } from '../../queue/served.ts';
import { attention } from '../attention.ts';
import { count } from '../output.ts';
import { fail, ok, warn, type Check } from './check.ts';

const names = {
  incidents: 'incidents',
  workers: 'workers',
  paused: 'queues',
  waiting: 'queues',
  turns: 'waits',
  bridges: 'bridges',
  schedules: 'schedules',
  rejected: 'rejected messages',
  dead_letters: 'dead letters',
} as const;

/** None of these keeps Rowmill from working, except an unknown queue in QUEUES. */
export async function checkFleet(url: string, wanted: string[] | undefined): Promise<Check[]> {
  const db = createPool(url, { max: 1, log: createLog({ logLevel: 'silent', secrets: [] }) });
  try {
    const fleet = await readFleet(db);
    const needs = attention(fleet);
    const alive = fleet.workers.filter((worker) => worker.alive).length;
    const fine: Record<string, string> = {
      incidents: 'none',
      workers: `${count(alive, 'worker')} alive`,
      queues: `${count(fleet.queues.length, 'queue')}, none paused or late`,
      waits: 'no job has waited long for its turn',
      schedules: 'all that are enabled can tick',
      'rejected messages': 'none',
      'dead letters': 'none',
    };
    if (fleet.workers.some(({ bridges }) => bridges.length > 0)) fine['bridges'] = 'all connected';
    const checks = Object.entries(fine).flatMap(([name, detail]) => {
      const found = needs.filter((need) => names[need.name] === name);
      return found.length > 0 ? found.map(({ what, fix }) => warn(name, what, fix)) : [ok(name, detail)];
    });
    return [...checks, ...checkVersions(fleet.workers), ...unknownQueues(fleet.queues, wanted)];
  } finally {
    await db.end();
  }
}

/** Whether the workers that are alive have this program's version. During a deployment there may be two versions. */
export function checkVersions(workers: Pick<FleetWorker, 'alive' | 'version' | 'host' | 'pid'>[]): Check[] {
  const alive = workers.filter((worker) => worker.alive);
  const others = alive.filter((worker) => worker.version !== version);
  if (alive.length === 0) return [];
  if (others.length === 0) return [ok('versions', `each worker has version ${version}, as has this program`)];
  const named = others.slice(0, 5).map((worker) => `${worker.version} (pid ${worker.pid} on ${worker.host})`);
  const more = others.length > named.length ? ` and ${others.length - named.length} more` : '';
  return [
    warn(
      'versions',
      `this program has version ${version}, ${count(others.length, 'worker')} another: ${named.join(', ')}${more}`,
      'deploy one version everywhere; while you deploy, this passes',
    ),
  ];
}

function unknownQueues(queues: FleetQueue[], wanted: string[] | undefined): Check[] {
  try {
    servedQueues(
      queues.map(({ queue: name }) => ({ name })),
      wanted,
    );
    return [];
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return [fail('served', error.message, 'set QUEUES to some of these, or to nothing for all')];
  }
}
