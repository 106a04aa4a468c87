import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, createPool, transaction, type Db, type Tx } from '../../../worker/base/db/db.ts';
import { patient } from '../../support/database.ts';
import { silent } from '../../support/log.ts';
import { quietNow } from '../../support/quiet-time.ts';

// Random schedules of inserts, for waking.test.ts and faults.test.ts: singles, bursts, batches, and transactions that
// stay open while the worker begins to poll or to be notified. What is measured is how long after its commit each job
// starts.

export type Job = { name: string; how: string; committedAt: number; startedAt?: number };

/** The same numbers for the same seed (mulberry32). */
export function randomOf(seed: number) {
  let state = seed | 0;
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const upTo = (most: number) => Math.floor(fraction() * (most + 1));
  return { fraction, upTo, of: <T>(choices: T[]): T => choices[upTo(choices.length - 1)]! };
}
type Random = ReturnType<typeof randomOf>;

/** The wall clock, in fractions of a millisecond: run_at is compared with it. */
export const now = () => performance.timeOrigin + performance.now();

/** @param kind the kind of the jobs */
export function createSchedules(url: string, kind = 'note') {
  const db: Db = createPool(withName(url), { max: 40, log: silent, ...patient });
  const jobs = new Map<string, Job>();
  let made = 0;

  /** Inserts jobs, as the rows of one statement. They count as committed now, until the commit says when. */
  async function insert(tx: Db | Tx, queue: string, how: string, { rows = 1, dueInMs = 0 } = {}): Promise<Job[]> {
    const added = Array.from({ length: rows }, () => ({ name: `${queue} ${++made}`, how, committedAt: Infinity }));
    for (const job of added) jobs.set(job.name, job);
    const due = now() + dueInMs;
    await tx.query(
      `insert into jobs (queue, kind, payload, run_at)
       select $1, $4, jsonb_build_object('name', n), ${dueInMs > 0 ? 'to_timestamp($3::float8 / 1000)' : 'now()'}
         from unnest($2::text[]) n where $3::float8 > 0`,
      [queue, added.map(({ name }) => name), due, kind],
    );
    for (const job of added) job.committedAt = dueInMs > 0 ? Math.max(due, now()) : now();
    return added;
  }

  const steps: ((queue: string, random: Random) => Promise<unknown>)[] = [
    // Enough that the worker polls.
    async (queue, random) => {
      const one = async () => {
        for (let n = 4 + random.upTo(3); n > 0; n--) await insert(db, queue, 'burst');
      };
      await Promise.all([one(), one(), one()]);
    },
    // About as long as it polls in vain.
    (_, random) => sleep(35 + random.upTo(50)),
    (_, random) => sleep(random.upTo(10)),
    (queue) => insert(db, queue, 'single'),
    (queue, random) => insert(db, queue, 'batch', { rows: 2 + random.upTo(10) }),
    (queue, random) => insert(db, queue, 'due soon', { dueInMs: random.upTo(300) }),
    // Its row is held locked for a while: what it writes into it has an id long before it is committed.
    (_, random) =>
      transaction(db, async (tx) => {
        await tx.query('select from workers order by id for update');
        await sleep(random.upTo(80));
      }),
  ];

  /** Inserts here and there, and commits some time later. */
  async function longTransaction(queue: string, random: Random, withinMs: number): Promise<void> {
    const level = random.of(['read committed', 'read committed', 'repeatable read', 'serializable']);
    const client = await db.connect();
    const inserted: Job[] = [];
    try {
      await sleep(random.upTo(withinMs));
      await client.query(`begin isolation level ${level}`);
      if (random.fraction() < 0.3) await client.query(random.of(['select 1', 'select pg_current_xact_id()']));
      for (let n = random.upTo(2); n >= 0; n--) {
        await sleep(random.upTo(withinMs / 3));
        const way = random.of(['plain', 'plain', 'savepoint', 'after a rollback']);
        if (way !== 'plain') await client.query('savepoint here');
        if (way === 'after a rollback') {
          const undone = await insert(client, queue, 'undone');
          for (const { name } of undone) jobs.delete(name);
          await client.query('rollback to savepoint here');
        }
        inserted.push(...(await insert(client, queue, `long, ${level}`, { rows: 1 + random.upTo(2) })));
      }
      await sleep(random.upTo(withinMs / 2));
      await client.query('commit');
      for (const job of inserted) job.committedAt = now();
    } catch (error) {
      await client.query('rollback').catch(() => {});
      for (const { name } of inserted) jobs.delete(name);
      if (!refused(error)) throw error;
    } finally {
      client.release();
    }
  }

  /** When they started first, by their rows: for workers that are processes of their own, and may be killed. */
  async function look(mine: Job[]): Promise<void> {
    const { rows } = await db.query<{ name: string; at: number }>(
      `select j.payload ->> 'name' as name,
              extract(epoch from coalesce((select min(e.started_at) from job_errors e where e.job_id = j.id),
                                          j.started_at))::float8 * 1000 as at
         from jobs j where j.status = 'completed' and j.payload ->> 'name' = any($1)`,
      [mine.filter(({ startedAt }) => startedAt === undefined).map(({ name }) => name)],
    );
    for (const { name, at } of rows) jobs.get(name)!.startedAt = at;
  }

  return {
    db,

    /** To be called by the handler. */
    started(name: string): void {
      const job = jobs.get(name);
      if (job) job.startedAt ??= now();
    },

    /** Runs one schedule on a queue. Resolves with its jobs when all have started, or have not for `patienceMs`. */
    async run(queue: string, seed: number, patienceMs: number, byRows = false): Promise<Job[]> {
      const random = randomOf(seed);
      const before = new Set(jobs.keys());
      const long = Array.from({ length: random.upTo(3) }, () =>
        longTransaction(queue, random, random.of([100, 100, 500])),
      );
      for (let n = 2 + random.upTo(5); n > 0; n--) await random.of(steps)(queue, random);
      await Promise.all(long);
      const mine = [...jobs.values()].filter(({ name }) => !before.has(name) && name.startsWith(`${queue} `));
      const deadline = quietNow() + patienceMs;
      while (mine.some(({ startedAt }) => startedAt === undefined) && quietNow() < deadline) {
        await sleep(byRows ? 50 : 10);
        if (byRows) await look(mine);
      }
      for (const { name } of mine) jobs.delete(name);
      return mine;
    },

    close: () => db.end(),
  };
}

/** A serializable transaction may be refused, and a commit that notifies while the queue of notifications is full. */
const refused = (error: unknown) => ['40001', '54000'].includes((error as { code?: string }).code ?? '');

/** The address under a name of its own: a fault that befalls a worker's sessions spares the schedules'. */
function withName(url: string): string {
  const named = new URL(url);
  named.searchParams.set('application_name', 'schedules');
  return named.href;
}

/** Figures of so many ms, for a diagnostic. */
export function figures(of: number[]): string {
  const sorted = of.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)]?.toFixed(1) ?? '-';
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, p99.9 ${at(0.999)} ms, at most ${at(1)} ms (${sorted.length})`;
}

/**
 * How long a bare NOTIFY takes to arrive at a session that listens, asked each 20 ms until `work` is done: what
 * Postgres and the machine make of it.
 */
export async function bareNotifications(url: string, work: Promise<unknown>): Promise<number[]> {
  const [listener, notifier] = [createClient(withName(url)), createClient(withName(url))];
  await Promise.all([listener.connect(), notifier.connect()]);
  await listener.query('listen bare');
  const took: number[] = [];
  listener.on('notification', ({ payload }) => took.push(now() - Number(payload)));
  let done = false;
  const asking = (async () => {
    while (!done) {
      await sleep(20);
      // The queue of notifications may be full.
      await notifier.query(`select pg_notify('bare', $1)`, [String(now())]).catch(() => {});
    }
  })();
  await work.finally(() => (done = true));
  await asking;
  await Promise.all([listener.end(), notifier.end()]);
  return took;
}

/** Milliseconds from its commit to its start; Infinity: it did not start. */
export const lateness = ({ committedAt, startedAt = Infinity }: Job) => Math.max(0, startedAt - committedAt);
