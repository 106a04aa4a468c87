import { kindNames, kinds, type KindName } from './kinds.ts';
import { between, random, shuffled, weighted } from './random.ts';

/**
 * What will be done, all from the seed: only the moment at which each thing meets the workers differs from run to run.
 */
export type Plan = { faults: Fault[]; batches: Batch[]; overMs: number };

export type Fault = { at_ms: number; pick: number } & (
  | { kind: 'kill' | 'stop' | 'restart' }
  /** Longer than WORKER_DEAD_AFTER, mostly. */
  | { kind: 'freeze'; ms: number }
  /** So many backends are terminated, whoever they belong to. */
  | { kind: 'cut'; backends: number }
);

/** Jobs of one INSERT. */
export type Batch = { at_ms: number; queue: string; into: string; jobs: NewJob[] };
export type NewJob = { kind: KindName; priority: number; delay_ms: number; max_retries: number };

export const queues = ['media', 'notification'];
const faultShares = { kill: 24, freeze: 16, cut: 37, stop: 16, restart: 7 };
/** Room for the fleet to recover between two faults, mostly; and what a small machine can work off. */
const msPerFault = 1_300;
const jobsPerMs = 0.15;

export function makePlan(options: { seed: number; jobs: number; faults: number; minutes?: number | undefined }): Plan {
  const { seed, jobs, faults, minutes } = options;
  const overMs = minutes === undefined ? Math.max(faults * msPerFault, jobs / jobsPerMs) : minutes * 60_000;
  return { faults: planFaults(seed, faults, overMs), batches: planBatches(seed, jobs, overMs * 0.95), overMs };
}

function planFaults(seed: number, count: number, overMs: number): Fault[] {
  const next = random(seed, 'faults');
  return shuffled(next, faultKinds(count)).map((kind, index): Fault => {
    const when = { at_ms: ((index + next()) / count) * overMs, pick: next() };
    switch (kind) {
      case 'freeze':
        return { ...when, kind, ms: between(next, 1_000, 9_000) };
      case 'cut':
        return { ...when, kind, backends: next() < 0.2 ? 1_000 : between(next, 1, 5) };
      case 'kill':
      case 'stop':
      case 'restart':
        return { ...when, kind };
    }
  });
}

/** So many, each kind as often as its share says: every kind is among a few faults, too. */
function faultKinds(count: number): Fault['kind'][] {
  const whole = Object.entries(faultShares).flatMap(([kind, share]) =>
    Array<Fault['kind']>(share).fill(kind as Fault['kind']),
  );
  return Array.from({ length: count }, (_, index) => whole[Math.floor(((index + 0.5) / count) * whole.length)]!);
}

function planBatches(seed: number, jobs: number, overMs: number): Batch[] {
  const next = random(seed, 'batches');
  const batches: Batch[] = [];
  const largest = Math.max(1, Math.min(1_000, Math.floor(jobs / 20)));
  for (let left = jobs; left > 0;) {
    const size = Math.min(left, next() < 0.6 ? 1 : between(next, 1, largest));
    const queue = queues[between(next, 0, queues.length - 1)]!;
    const into = next() < 0.5 ? 'jobs' : `${queue}_jobs`;
    batches.push({ at_ms: (1 - left / jobs) * overMs, queue, into, jobs: newJobs(next, size) });
    left -= size;
  }
  return batches;
}

/** A bulk insert is mostly of one priority and time, as in life: then its jobs share tickets. */
function newJobs(next: () => number, size: number): NewJob[] {
  const alike = next() < 0.7;
  return Array.from({ length: size }, () => {
    const kind = weighted(next, shares);
    const [low, high] = kinds[kind].max_retries;
    return {
      kind,
      priority: alike ? 0 : between(next, -2, 2),
      delay_ms: alike || next() < 0.8 ? 0 : between(next, 0, 3_000),
      max_retries: between(next, low, high),
    };
  });
}

const shares = Object.fromEntries(kindNames.map((name) => [name, kinds[name].share])) as Record<KindName, number>;
