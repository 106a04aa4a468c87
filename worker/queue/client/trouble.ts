import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import {
  fleetStatus,
  type DeadLetters,
  type FailingSchedule,
  type FleetIncident,
  type FleetQueue,
  type FleetStatus,
  type FleetWorker,
} from './operate.ts';

/** Judges what needs a person. The command line and the dashboard say it, each in its own words. */

const sql = loadStatements(import.meta.dirname, 'trouble.sql', ['paused_queues', 'rejected_messages', 'try_incident']);

type PausedQueue = { queue: string; paused_at: Date | null; paused_by: string | null };
type RejectedGroup = {
  source: string;
  reason: string;
  messages: number;
  first_at: Date;
  last_at: Date;
  /** There are at least so many. */
  more: boolean;
};

export type Trouble =
  | ({ trouble: 'incident' } & FleetIncident)
  | ({ trouble: 'lost_worker' } & FleetWorker)
  | { trouble: 'no_worker'; queues: FleetQueue[] }
  | ({ trouble: 'unserved' } & FleetQueue)
  | ({ trouble: 'paused' } & FleetQueue & PausedQueue)
  | ({ trouble: 'overdue' } & FleetQueue & { oldest_waiting_s: number })
  | { trouble: 'turns'; worker: FleetWorker; jobs: number; waits_for: string; job_id: number; since: Date }
  /** `workers`: those where it is so, the one that it befell first at the front. */
  | { trouble: 'bridge'; workers: FleetWorker[]; bridge: string; since: Date; reason: string | undefined }
  | ({ trouble: 'schedule' } & FailingSchedule)
  | ({ trouble: 'rejected' } & RejectedGroup)
  | ({ trouble: 'dead_letters' } & DeadLetters);

type Beside = { paused: PausedQueue[]; rejected: RejectedGroup[] };
export type Fleet = FleetStatus & Beside;

/** How things are, and what is wrong. Its time does not grow with the history. */
export async function readFleet(db: Queryable): Promise<Fleet> {
  const paused = await query<PausedQueue>(db, sql.paused_queues);
  const rejected = await query<RejectedGroup>(db, sql.rejected_messages);
  return { ...(await fleetStatus(db)), paused, rejected };
}

/** A queue whose oldest job has been due for so long is late. */
export const patienceS = 300;
const turnPatienceS = 60;
const mostGroups = 10;

/** The worst first: what stops everything, then what waits, then what has failed. */
export function troubles(fleet: Fleet): Trouble[] {
  const { incidents, queues, workers, dead_letters, failing_schedules, paused, rejected } = fleet;
  const served = new Set(workers.filter(({ alive }) => alive).flatMap((worker) => worker.queues));
  return [
    ...incidents.map((found) => ({ trouble: 'incident' as const, ...found })),
    ...idle(queues, workers, served),
    ...queues.flatMap((queue) => waiting(queue, paused, served)),
    ...workers.flatMap(turns),
    ...bridges(workers),
    ...failing_schedules.map((found) => ({ trouble: 'schedule' as const, ...found })),
    ...rejected.slice(0, mostGroups).map((group) => ({ trouble: 'rejected' as const, ...group })),
    ...dead_letters.slice(0, mostGroups).map((group) => ({ trouble: 'dead_letters' as const, ...group })),
  ];
}

function idle(queues: FleetQueue[], workers: FleetWorker[], served: Set<string>): Trouble[] {
  const lost = workers.filter(({ alive }) => !alive).map((worker) => ({ trouble: 'lost_worker' as const, ...worker }));
  if (served.size === 0) return [...lost, { trouble: 'no_worker', queues }];
  const unserved = queues.filter(({ queue, waiting: jobs }) => jobs > 0 && !served.has(queue));
  return [...lost, ...unserved.map((queue) => ({ trouble: 'unserved' as const, ...queue }))];
}

function waiting(queue: FleetQueue, paused: PausedQueue[], served: Set<string>): Trouble[] {
  const { oldest_waiting_s } = queue;
  if (queue.paused) {
    const by = paused.find((each) => each.queue === queue.queue) ?? { paused_at: null, paused_by: null };
    return [{ trouble: 'paused', ...queue, ...by }];
  }
  if (oldest_waiting_s === null || oldest_waiting_s < patienceS || !served.has(queue.queue)) return [];
  return [{ trouble: 'overdue', ...queue, oldest_waiting_s }];
}

/** Jobs that wait for a turn: for each worker, the one that waits the longest. */
function turns(worker: FleetWorker): Trouble[] {
  const [longest] = worker.waiting.toSorted((a, b) => Date.parse(a.since) - Date.parse(b.since));
  if (!longest || Date.now() - Date.parse(longest.since) < turnPatienceS * 1_000) return [];
  const { job_id, waits_for, since } = longest;
  return [{ trouble: 'turns', worker, jobs: worker.waiting.length, job_id, waits_for, since: new Date(since) }];
}

/** One for all workers whose bridge gives the same reason. */
function bridges(workers: FleetWorker[]): Trouble[] {
  const off = workers
    .filter(({ alive }) => alive)
    .flatMap((worker) => worker.bridges.filter(({ connected }) => !connected).map((each) => ({ worker, ...each })))
    .toSorted((a, b) => Date.parse(a.since) - Date.parse(b.since));
  const alike = Object.values(Object.groupBy(off, ({ bridge, reason }) => JSON.stringify([bridge, reason])));
  return alike.map((group) => {
    const [{ bridge, since, reason }] = group as [(typeof off)[0]];
    const these = group!.map(({ worker }) => worker);
    return { trouble: 'bridge', workers: these, bridge, since: new Date(since), reason };
  });
}

/**
 * Lets a worker run the check of an incident's dependency, and one of the jobs that it holds, within seconds.
 * @returns the incident; undefined if it is over
 */
export async function tryIncident(
  db: Queryable,
  id: string,
): Promise<Pick<FleetIncident, 'dependency' | 'host' | 'code'> | undefined> {
  const [found] = await query<FleetIncident>(db, sql.try_incident, { id });
  return found;
}
