import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Queryable } from '../../worker/base/db/sql.ts';
import { eventually } from '../support/eventually.ts';
import { queues } from './plan.ts';
import { at } from './random.ts';

/** The worker processes: always so many, whatever is done to them. */
export type Fleet = ReturnType<typeof raiseFleet>;

type Member = {
  child: ChildProcess;
  state: 'starting' | 'working' | 'frozen' | 'ending' | 'ended';
  ended: Promise<unknown>;
};

const env = {
  PATH: process.env['PATH'],
  NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
  LOG_LEVEL: 'info',
  QUEUES: queues.join(','),
  WORKER_CONCURRENCY: '12',
  WORKER_POLL_INTERVAL: '500',
  HEARTBEAT_INTERVAL: '250',
  WORKER_DEAD_AFTER: '1500',
  SWEEP_INTERVAL: '200',
  SHUTDOWN_TIMEOUT: '1500',
};
/** More than a stop takes while Postgres is away. */
const stopPatienceMs = 45_000;
/** More than half of the fleet takes to start, on a busy machine too. */
const startPatienceMs = 120_000;
/** More than a worker needs to start and to reap the others. */
const reapPatienceMs = 60_000;

export function raiseFleet({ url, seed, size, logFile }: { url: string; seed: number; size: number; logFile: string }) {
  const log = openSync(logFile, 'a');
  const members = new Set<Member>();
  const faults: Record<string, unknown>[] = [];
  let disbanding = false;

  const start = (more: Record<string, string> = {}) =>
    fork(join(import.meta.dirname, 'worker.ts'), [String(seed)], {
      stdio: ['ignore', log, log, 'ipc'],
      env: { ...env, DATABASE_URL: url, ...more },
    });

  /** Brings up one process, and another in its place when it ends, as a supervisor of services does. */
  function raise(): void {
    const child = start();
    const member: Member = { child, state: 'starting', ended: once(child, 'exit') };
    members.add(member);
    child.once('message', () => {
      if (member.state === 'starting') member.state = 'working';
    });
    child.once('exit', (code, signal) => {
      // One that cannot start, because Postgres is away, is not at fault.
      if (member.state === 'working' || member.state === 'frozen')
        faults.push({ what: 'a worker ended by itself', pid: child.pid, code, signal });
      member.state = 'ended';
      members.delete(member);
      if (!disbanding) setTimeout(raise, 200);
    });
  }

  async function stop(member: Member): Promise<void> {
    member.state = 'ending';
    member.child.kill('SIGTERM');
    const patience = new AbortController();
    const late = sleep(stopPatienceMs, true, { signal: patience.signal }).catch(() => false);
    if (await Promise.race([member.ended.then(() => false), late])) {
      faults.push({ what: 'a worker did not stop', pid: member.child.pid, after_ms: stopPatienceMs });
      member.child.kill('SIGKILL');
    } else if (member.child.exitCode !== 0) {
      const { exitCode: code, signalCode: signal } = member.child;
      faults.push({ what: 'a worker did not stop cleanly', pid: member.child.pid, code, signal });
    }
    patience.abort();
    await member.ended;
  }

  const all = (state: Member['state']) => [...members].filter((member) => member.state === state);
  /** One of those that work, when at least half do: else a slow machine would have none that lives for long. */
  const working = async (point: number): Promise<Member> => {
    const deadline = performance.now() + startPatienceMs;
    while (all('working').length < size / 2) {
      if (performance.now() > deadline) throw new Error(`chaos_stalled: workers do not come up: see ${logFile}`);
      await sleep(50);
    }
    return at(all('working'), point)!;
  };

  for (let n = 0; n < size; n++) raise();

  return {
    /** What the processes did that they should not have. */
    faults,

    async kill(point: number): Promise<void> {
      const member = await working(point);
      member.state = 'ending';
      member.child.kill('SIGKILL');
    },
    async stop(point: number): Promise<{ done: Promise<void> }> {
      return { done: stop(await working(point)) };
    },
    async freeze(point: number, ms: number): Promise<{ done: Promise<void> }> {
      const member = await working(point);
      member.state = 'frozen';
      member.child.kill('SIGSTOP');
      const thaw = () => {
        member.child.kill('SIGCONT');
        if (member.state === 'frozen') member.state = 'working';
      };
      return { done: sleep(ms).then(thaw) };
    },

    /** Resolves when all work; what is in their way then is put down as a fault. */
    async complete(withinMs: number): Promise<void> {
      const deadline = Date.now() + withinMs;
      while (all('working').length < size) {
        if (Date.now() > deadline)
          return void faults.push({ what: 'workers do not come up', up: all('working').length });
        await sleep(100);
      }
      for (const member of all('working')) {
        let trouble = await ask(member);
        for (; trouble !== null && Date.now() < deadline; trouble = await ask(member)) await sleep(200);
        if (trouble !== null) faults.push({ what: 'a worker does not work', pid: member.child.pid, trouble });
      }
    },

    /** Stops all as SIGTERM does. */
    async disband(): Promise<void> {
      disbanding = true;
      await Promise.all([...members].map(stop));
    },

    /**
     * Raises one more worker, which does no jobs, until it has reaped the rows in `workers` that are left over: on a
     * busy machine, a worker whose stop takes too long leaves its row to the others.
     */
    async reap(db: Queryable, withinMs = reapPatienceMs): Promise<void> {
      const child = start({ QUEUES: 'cleanup' });
      const ended = once(child, 'exit');
      const told = await Promise.race([once(child, 'message'), ended.then(() => undefined)]);
      if (!told) throw new Error(`chaos_stalled: a worker does not come up: see ${logFile}`);
      const { id } = told[0] as { id: string };
      const left = async () => (await db.query('select from workers where id <> $1', [id])).rowCount;
      const gone = async () => assert.equal(await left(), 0);
      await eventually(gone, withinMs).catch(() => {});
      child.kill('SIGKILL');
      await ended;
      await db.query('delete from workers where id = $1', [id]);
    },

    /** At once, however they are. */
    destroy(): void {
      disbanding = true;
      for (const { child } of members) child.kill('SIGKILL');
    },
  };
}

/** What its health would say. */
async function ask({ child }: Member): Promise<string | null> {
  const answer = once(child, 'message', { signal: AbortSignal.timeout(5_000) });
  child.send('trouble');
  return answer.then(
    ([message]) => (message as { trouble: string | null }).trouble,
    () => 'does not answer',
  );
}
