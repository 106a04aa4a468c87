import type { DeadLetters, FleetIncident, FleetWorker } from '../queue/client/operate.ts';
import { troubles, type Fleet, type Trouble } from '../queue/client/trouble.ts';
import { count, duration } from './output.ts';

export type Attention = {
  name:
    | 'incidents'
    | 'paused'
    | 'waiting'
    | 'turns'
    | 'bridges'
    | 'workers'
    | 'schedules'
    | 'rejected'
    | 'dead_letters';
  what: string;
  fix: string;
};

/** What needs a person's attention, and how to fix it on the command line. */
export const attention = (fleet: Fleet): Attention[] => troubles(fleet).map(tell);

function tell(trouble: Trouble): Attention {
  switch (trouble.trouble) {
    case 'incident':
      return incident(trouble);
    case 'lost_worker':
      return {
        name: 'workers',
        what:
          `worker ${trouble.pid} on ${trouble.host} has lost its connection, ` +
          `its last heartbeat was ${duration(trouble.heartbeat_age_s)} ago`,
        fix: 'another worker takes over its jobs; look at its log',
      };
    case 'no_worker':
      return { name: 'workers', what: 'no worker is running', fix: 'rowmill start' };
    case 'unserved':
      return {
        name: 'workers',
        what: `no worker serves queue ${trouble.queue}, where ${count(trouble.waiting, 'job')} wait`,
        fix: `start one with ${trouble.queue} in QUEUES, or with QUEUES unset`,
      };
    case 'paused':
      return {
        name: 'paused',
        what: `queue ${trouble.queue} is paused${by(trouble)}, ${count(trouble.waiting, 'job')} waiting`,
        fix: `rowmill resume ${trouble.queue}`,
      };
    case 'overdue':
      return overdue(trouble);
    case 'turns':
      return turns(trouble);
    case 'bridge':
      return bridge(trouble);
    case 'schedule':
      return schedule(trouble);
    case 'rejected':
      return {
        name: 'rejected',
        what: `${count(trouble.messages, 'message')} of ${trouble.source} could not become jobs: ${trouble.reason}`,
        fix:
          `rowmill rejected list --reason ${trouble.reason}, correct what is wrong, ` +
          `then rowmill rejected resubmit --all --source ${trouble.source} --reason ${trouble.reason}`,
      };
    case 'dead_letters':
      return deadLetters(trouble);
  }
}

type Of<Which extends Trouble['trouble']> = Extract<Trouble, { trouble: Which }>;

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

function by({ paused_at, paused_by }: Of<'paused'>): string {
  if (!paused_at) return '';
  const since = ` for ${duration((Date.now() - paused_at.getTime()) / 1_000)}`;
  return paused_by === null ? since : `${since} by ${paused_by}`;
}

function overdue({ queue, waiting: jobs, oldest_waiting_s }: Of<'overdue'>): Attention {
  return {
    name: 'waiting',
    what:
      `the oldest of ${count(jobs, 'job')} waiting in queue ${queue} ` +
      `has been due for ${duration(oldest_waiting_s)}`,
    fix: `start more workers, or raise ${queue === 'publish' ? 'CONCURRENCY' : 'WORKER_CONCURRENCY'}`,
  };
}

function turns({ worker: { host, pid }, jobs, waits_for, job_id, since }: Of<'turns'>): Attention {
  return {
    name: 'turns',
    what:
      `${count(jobs, 'job')} of worker ${pid} on ${host} wait for ${waits_for}, ` +
      `job ${job_id} for ${duration((Date.now() - since.getTime()) / 1_000)}`,
    fix: 'start more workers, or give it more memory and raise MEDIA_MEMORY_MB; their time limits do not run',
  };
}

function bridge({ workers, bridge: name, since, reason }: Of<'bridge'>): Attention {
  const [{ pid, host }, ...others] = workers as [FleetWorker];
  const more = others.length > 0 ? `, and of ${count(others.length, 'other')},` : '';
  return {
    name: 'bridges',
    what:
      `bridge ${name} of worker ${pid} on ${host}${more} has not been connected for ` +
      `${duration((Date.now() - since.getTime()) / 1_000)}: ${reason ?? 'it is starting'}`,
    fix: 'it tries again by itself; rowmill doctor, with the settings of such a worker, says more',
  };
}

function schedule({ name, error, since }: Of<'schedule'>): Attention {
  if (error !== null)
    return {
      name: 'schedules',
      what: `schedule ${name} adds nothing: ${error}`,
      fix: `rowmill schedule set ${name} with what is right, or rowmill schedule disable ${name}`,
    };
  return {
    name: 'schedules',
    what: `schedule ${name} is late: its tick came ${duration((Date.now() - since.getTime()) / 1_000)} ago`,
    fix: 'start a worker: any of them makes the ticks; look at its log if there is one',
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
