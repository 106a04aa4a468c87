import type { DeadLetters, FailingSchedule, FleetIncident, FleetQueue, FleetStatus } from '../queue/client/operate.ts';
import { count, duration } from './output.ts';

export type Attention = {
  name: 'incidents' | 'paused' | 'waiting' | 'turns' | 'bridges' | 'workers' | 'schedules' | 'dead_letters';
  what: string;
  fix: string;
};

const patienceS = 300;
const turnPatienceS = 60;
const mostGroups = 10;

/** What needs a person's attention, and how to fix it. */
export function attention(fleet: FleetStatus): Attention[] {
  const { incidents, queues, workers, dead_letters, failing_schedules } = fleet;
  const served = new Set(workers.filter(({ alive }) => alive).flatMap((worker) => worker.queues));
  return [
    ...incidents.map(incident),
    ...idle(queues, workers, served),
    ...queues.flatMap((queue) => waiting(queue, served)),
    ...workers.flatMap(turns),
    ...workers.flatMap(bridges),
    ...failing_schedules.map(failing),
    ...dead_letters.slice(0, mostGroups).map(deadLetters),
  ];
}

function incident(found: FleetIncident): Attention {
  const { dependency, host, code, message, solution, age_s, kinds, jobs_held } = found;
  const where = host === null ? dependency : `${dependency} of ${host}`;
  return {
    name: 'incidents',
    what:
      `incident for ${duration(age_s)}: ${where}, ${code}; ` +
      `${count(jobs_held, 'job')} of ${kinds.join(', ')} wait: ${message}`,
    fix: `${solution ?? 'Correct what it names.'} The jobs that wait go on by themselves, with no retry used.`,
  };
}

function idle(queues: FleetQueue[], workers: FleetStatus['workers'], served: Set<string>): Attention[] {
  const lost = workers
    .filter(({ alive }) => !alive)
    .map(({ host, pid, heartbeat_age_s }): Attention => ({
      name: 'workers',
      what: `worker ${pid} on ${host} has lost its connection, its last heartbeat was ${duration(heartbeat_age_s)} ago`,
      fix: 'another worker takes over its jobs; look at its log',
    }));
  if (served.size === 0) return [...lost, { name: 'workers', what: 'no worker is running', fix: 'rowmill start' }];
  const unserved = queues.filter(({ queue, waiting: jobs }) => jobs > 0 && !served.has(queue));
  return [
    ...lost,
    ...unserved.map(({ queue, waiting: jobs }): Attention => ({
      name: 'workers',
      what: `no worker serves queue ${queue}, where ${count(jobs, 'job')} wait`,
      fix: `start one with ${queue} in QUEUES, or with QUEUES unset`,
    })),
  ];
}

function waiting({ queue, paused, waiting: jobs, oldest_waiting_s }: FleetQueue, served: Set<string>): Attention[] {
  if (paused)
    return [
      {
        name: 'paused',
        what: `queue ${queue} is paused, ${count(jobs, 'job')} waiting`,
        fix: `rowmill resume ${queue}`,
      },
    ];
  if (oldest_waiting_s === null || oldest_waiting_s < patienceS || !served.has(queue)) return [];
  return [
    {
      name: 'waiting',
      what:
        `the oldest of ${count(jobs, 'job')} waiting in queue ${queue} ` +
        `has been due for ${duration(oldest_waiting_s)}`,
      fix: `start more workers, or raise ${queue === 'publish' ? 'CONCURRENCY' : 'WORKER_CONCURRENCY'}`,
    },
  ];
}

/** Jobs that wait for a turn: for each worker, the one that waits the longest. */
function turns({ host, pid, waiting: jobs }: FleetStatus['workers'][number]): Attention[] {
  const [longest] = jobs.toSorted((a, b) => Date.parse(a.since) - Date.parse(b.since));
  const forS = longest ? (Date.now() - Date.parse(longest.since)) / 1_000 : 0;
  if (!longest || forS < turnPatienceS) return [];
  return [
    {
      name: 'turns',
      what:
        `${count(jobs.length, 'job')} of worker ${pid} on ${host} wait for ${longest.waits_for}, ` +
        `job ${longest.job_id} for ${duration(forS)}`,
      fix: 'start more workers, or give it more memory and raise MEDIA_MEMORY_MB; their time limits do not run',
    },
  ];
}

function bridges({ host, pid, alive, bridges: all }: FleetStatus['workers'][number]): Attention[] {
  return all
    .filter(({ connected }) => alive && !connected)
    .map(({ bridge, since, reason }) => ({
      name: 'bridges',
      what:
        `bridge ${bridge} of worker ${pid} on ${host} has not been connected for ` +
        `${duration((Date.now() - Date.parse(since)) / 1_000)}: ${reason ?? 'it is starting'}`,
      fix: 'it tries again by itself; rowmill doctor, with the settings of that worker, says more',
    }));
}

function failing({ name, error }: FailingSchedule): Attention {
  return {
    name: 'schedules',
    what: `schedule ${name} adds nothing: ${error}`,
    fix: `rowmill schedule set ${name} with what is right, or rowmill schedule disable ${name}`,
  };
}

function deadLetters({ queue, kind, error_code, cause, solution, jobs }: DeadLetters): Attention {
  const code = error_code ? ` --error-code ${error_code}` : '';
  const which = `${count(jobs, 'dead letter')} of ${queue}.${kind}, ${error_code ?? 'without a code'}`;
  return {
    name: 'dead_letters',
    what: cause ? `${which}: ${cause}` : which,
    fix:
      `${solution ?? `See rowmill jobs --status failed${code}.`} ` +
      `To retry: rowmill retry --failed --queue ${queue} --kind ${kind}${code}`,
  };
}
