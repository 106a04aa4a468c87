import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../worker/base/errors.ts';
import type { Fleet } from './fleet.ts';
import type { Ground } from './ground.ts';
import type { Fault } from './plan.ts';

/**
 * Deals all faults, each at its time, or when there is somebody to deal it to; then those that follow are as much
 * later. Resolves when the last is over.
 */
export async function dealFaults(
  faults: Fault[],
  { ground, fleet, dealt }: { ground: Ground; fleet: Fleet; dealt: (fault: Fault) => void },
): Promise<void> {
  let began = performance.now();
  const lateMs = (fault: Fault) => performance.now() - began - fault.at_ms;
  const lasting: Promise<void>[] = [];
  for (const fault of faults) {
    await sleep(Math.max(-lateMs(fault), 0));
    const { done } = await deal(fault, ground, fleet);
    if (done) lasting.push(done);
    dealt(fault);
    began += lateMs(fault);
  }
  await Promise.all(lasting);
}

/** @returns `done` when the fault lasts for a while */
async function deal(fault: Fault, ground: Ground, fleet: Fleet): Promise<{ done?: Promise<void> }> {
  switch (fault.kind) {
    case 'kill':
      await fleet.kill(fault.pick);
      return {};
    case 'stop':
      return fleet.stop(fault.pick);
    case 'freeze':
      return fleet.freeze(fault.pick, fault.ms);
    case 'restart':
      await ground.restart();
      return {};
    case 'cut':
      await cut(fault, ground);
      return {};
  }
}

/** Terminates backends, drawn by lot. The lot may fall on our own. */
async function cut(fault: Fault & { kind: 'cut' }, { db }: Ground): Promise<void> {
  const statement = `
    select pg_terminate_backend(pid)
      from (select pid from pg_stat_activity
             where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
             order by md5(pid::text || $2::text) limit $1) unlucky`;
  for (;;) {
    try {
      await db.query(statement, [fault.backends, fault.pick]);
      return;
    } catch (error) {
      // Postgres may be coming up.
      console.error(`  cutting connections: ${messageOf(error)}, again`);
      await sleep(200);
    }
  }
}
