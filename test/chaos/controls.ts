import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient, type Db } from '../../worker/base/db/db.ts';
import { persist, type Ground } from './ground.ts';
import { queues } from './plan.ts';
import { at, between, random, weighted } from './random.ts';

// What people do to jobs and queues by SQL while all that goes on, as in sql/operate/ and the README.

const shares = { retry: 30, rerun: 10, cancel: 8, reschedule: 16, prioritise: 16, raise: 12, pause: 4 };
type Control = keyof typeof shares;

const statements: Record<Exclude<Control, 'pause'>, string> = {
  // What runs, too: then it is taken from its worker.
  retry: `set status = 'pending', archived = false where id = any($1)`,
  rerun: `set status = 'pending', archived = false, retry_count = 0, run_at = now() where id = any($1)
          and status <> 'processing'`,
  cancel: `set status = 'cancelled' where id = any($1) and status in ('pending', 'processing')`,
  reschedule: `set run_at = now() + random() * interval '3 seconds' where id = any($1) and status = 'pending'`,
  prioritise: `set priority = (random() * 4 - 2)::smallint where id = any($1) and status = 'pending'`,
  raise: `set max_retries = max_retries + 1 where id = any($1) and status = 'failed'`,
};

/**
 * Changes jobs drawn by lot from `ids`, until `signal` aborts; then no queue is paused.
 * @returns how many changes there were
 */
export async function control({ db }: Ground, seed: number, ids: number[], signal: AbortSignal): Promise<number> {
  const next = random(seed, 'controls');
  const pauses: Promise<void>[] = [];
  let done = 0;
  while (!signal.aborted) {
    await sleep(between(next, 20, 200), undefined, { signal }).catch(() => {});
    const kind = weighted(next, shares);
    const queue = at(queues, next())!;
    const table = next() < 0.5 ? 'jobs' : `${queue}_jobs`;
    const size = next() < 0.8 ? between(next, 1, 5) : between(next, 10, 60);
    const chosen = draw(next, ids, size);
    if (kind === 'pause') pauses.push(pause(db, queue, between(next, 500, 3_000)));
    else done += await change(db, `update ${table} ${statements[kind]}`, chosen);
  }
  await Promise.all(pauses);
  await persist(() => db.query('update queues set paused = false'));
  return done;
}

/** Half of them among those inserted last, which are where things happen. */
function draw(next: () => number, ids: number[], size: number): number[] {
  const recent = ids.slice(-500);
  return Array.from({ length: size }, () => at(next() < 0.5 ? recent : ids, next())).filter((id) => id !== undefined);
}

/** A change that met a fault is dropped. */
async function change(db: Db, statement: string, ids: number[]): Promise<number> {
  try {
    return (await db.query(statement, [ids])).rowCount ?? 0;
  } catch (error) {
    if (!isTransient(error)) throw error;
    return 0;
  }
}

async function pause(db: Db, queue: string, ms: number): Promise<void> {
  const set = (paused: boolean) =>
    persist(() => db.query('update queues set paused = $2 where name = $1', [queue, paused]));
  await set(true);
  await sleep(ms);
  await set(false);
}
