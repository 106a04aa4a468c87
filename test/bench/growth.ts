import { setTimeout as sleep } from 'node:timers/promises';
import { burnDown, bulk, drained, interleave, launchWorker, type Bench } from './measure.ts';
import { atLeast, atMost, median, type Result } from './result.ts';
import type { Database } from './server.ts';
import * as rowmill from './tools/rowmill.ts';
import { sizes, vacuum } from './tables.ts';

const chunk = 100_000;

/** Whether it stays fast while tables grow, and whether they stay small while jobs pass through. */
export async function growth(bench: Bench): Promise<Result[]> {
  return [...(await throughput(bench)), await size(bench)];
}

/** Jobs a second in bulk, on tables that hold much else already, against a queue that is empty. */
async function throughput({ server, runs, jobs, rows }: Bench): Promise<Result[]> {
  const burdens = {
    [`${rows} pending, not due`]: (db: Database) => fill(db, rows, addNotDue),
    [`${rows} due, less urgent`]: (db: Database) => fill(db, rows, addLessUrgent),
    [`${rows * 10} archived`]: (db: Database) => fill(db, rows * 10, addArchived),
  };
  const grown: { name: string; db: Database; rates: number[] }[] = [];
  for (const [name, load] of Object.entries(burdens)) {
    console.error(`  filling: ${name}`);
    const { db } = await rowmill.create(server);
    await load(db);
    await vacuum(db, 'analyze');
    grown.push({ name, db, rates: [] });
  }
  const empty: number[] = [];
  await interleave(runs, {
    empty: async () => {
      const { db } = await rowmill.create(server);
      empty.push(await rate(db, jobs));
      await db.drop();
    },
    ...Object.fromEntries(
      grown.map(({ name, db, rates }) => [name, async () => void rates.push(await rate(db, jobs))]),
    ),
  });
  for (const { db } of grown) await db.drop();
  return grown.map(({ name, rates }) =>
    atLeast(0.9, `growth, ${name}, against empty`, { ours: median(rates), anchor: median(empty), unit: 'jobs/s' }),
  );
}

/** Leaves the table as it was. */
async function rate(db: Database, jobs: number): Promise<number> {
  const queue = await rowmill.queueOn(db);
  await queue.insert(jobs);
  await db.query('checkpoint');
  const jobsPerSecond = await burnDown(queue, jobs);
  await db.query(`set session_replication_role = replica`);
  await db.query(`delete from analytics_jobs_live where status = 'completed'`);
  await db.query(`reset session_replication_role`);
  await vacuum(db);
  return jobsPerSecond;
}

async function fill(db: Database, count: number, add: (db: Database, from: number, to: number) => Promise<unknown>) {
  for (let from = 1; from <= count; from += chunk) await add(db, from, Math.min(from + chunk - 1, count));
}

/** Each due at a time of its own, and so with a ticket of its own. */
const addNotDue = (db: Database, from: number, to: number) =>
  db.query(
    `insert into analytics_jobs (kind, run_at)
     select 'noop', now() + interval '1 day' + n * interval '1 ms' from generate_series($1::int, $2::int) n`,
    [from, to],
  );

const addLessUrgent = (db: Database, from: number, to: number) =>
  db.query(`insert into analytics_jobs (kind, priority) select 'noop', 10 from generate_series($1::int, $2::int) n`, [
    from,
    to,
  ]);

/** As the archiver leaves them, over the last weeks; without triggers, as COPY of a backup would. */
async function addArchived(db: Database, from: number, to: number): Promise<void> {
  await db.query('set session_replication_role = replica');
  await db.query(
    `insert into analytics_jobs_done (queue, archived, kind, payload, status, attempt, max_retries, run_at, created_at,
     started_at, completed_at)
     select 'analytics', true, 'noop', jsonb_build_object('n', n), 'completed', 1, 3, at, at, at, at
       from generate_series($1::int, $2::int) n,
         lateral (select now() - interval '60 days' + n * interval '0.1 s') t (at)`,
    [from, to],
  );
  await db.query('reset session_replication_role');
}

/**
 * Bytes of the tables and indexes while ten times so many jobs pass through, each time archived and pruned: the largest
 * of the second half of the times against the largest of the first half. Vacuumed once a time, as autovacuum does;
 * without giving back space, so that it has to be used again, as in a queue that is never empty.
 */
async function size({ server, jobs, rounds }: Bench): Promise<Result> {
  const queue = await rowmill.create(server);
  await rowmill.keep(queue.db, { archive_after: '1 second', keep_completed: '1 second' });
  const count = jobs * 2.5;
  const worker = await launchWorker(queue, rounds * count, bulk.rowmill);
  worker.tell('go');
  await worker.hears('working');
  const after: number[] = [];
  for (let round = 0; round < rounds; round++) {
    console.error(`  ${round + 1} of ${rounds}: size`);
    await queue.insert(count);
    await drained(queue);
    await pruned(queue.db);
    after.push(Object.values(await sizes(queue.db)).reduce((sum, bytes) => sum + bytes));
    await vacuum(queue.db, 'truncate false');
  }
  await worker.end();
  await queue.close();
  return atMost(1.1, `growth, size while ${rounds} x ${count} jobs pass through, second half against first`, {
    ours: Math.max(...after.slice(rounds / 2)) / 1e6,
    anchor: Math.max(...after.slice(0, rounds / 2)) / 1e6,
    unit: 'MB',
  });
}

async function pruned(db: Database): Promise<void> {
  for (;;) {
    const { rows } = await db.query<{ more: boolean }>('select exists (select from analytics_jobs) as more');
    if (!rows[0]!.more) return;
    await sleep(100);
  }
}
