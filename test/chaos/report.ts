import { readFile } from 'node:fs/promises';
import type { Db } from '../../worker/base/db/db.ts';
import type { Fault } from './plan.ts';
import type { Verdict } from './verdict.ts';

const everyMs = 10_000;
const shown = 20;

/** A line now and then that says how far all is. */
export function tellCounts(db: Db, progress: () => string): { stop(): void } {
  const began = performance.now();
  const timer = setInterval(() => {
    const seconds = Math.round((performance.now() - began) / 1_000);
    db.query<{ status: string; n: number }>('select status, count(*) as n from jobs group by 1 order by 1').then(
      ({ rows }) =>
        console.log(`  ${seconds} s: ${progress()}; ${rows.map(({ status, n }) => `${n} ${status}`).join(', ')}`),
      // Postgres is away: then the next line tells.
      () => {},
    );
  }, everyMs);
  return { stop: () => clearInterval(timer) };
}

/** What was done, and what went wrong. */
export async function report(
  db: Db,
  run: { verdict: Verdict; dealt: Fault['kind'][]; changes: number; drained: number; logFile: string },
): Promise<void> {
  const { rows } = await db.query(`
    select (select count(*) from jobs) as jobs, (select sum(attempt) from jobs)::bigint as attempts,
      (select count(*) from effects) as effects,
           (select count(*) from job_errors) as failures,
             (select count(*) from job_errors where error_code = 'worker_lost') as worker_lost,
           (select count(*) from jobs where archived) as archived`);
  const faults = Object.entries(Object.groupBy(run.dealt, (kind) => kind)).map(
    ([kind, list]) => `${list.length} ${kind}`,
  );
  console.log(
    `faults: ${faults.join(', ')}; jobs changed by SQL: ${run.changes}; drained in ${run.drained.toFixed(1)} s`,
  );
  console.log(
    Object.entries(rows[0] as Record<string, number>)
      .map(([what, n]) => `${what} ${n}`)
      .join(', '),
  );
  console.log(`the workers said: ${said(await readFile(run.logFile, 'utf8'))}`);

  const { violations } = run.verdict;
  for (const violation of violations.slice(0, shown)) console.log(JSON.stringify(violation));
  if (violations.length > shown) console.log(`and ${violations.length - shown} more`);
}

/** How often they said what is worth knowing: that what the run is about did happen. */
function said(log: string): string {
  const worth = [
    'reaped a dead worker',
    'the fleet has declared this worker dead, starting over',
    'retried jobs that this worker lost track of',
    'retried jobs that no worker ran',
    'made tickets for forgotten jobs',
    'graphile-worker gave up, starting it again',
    'could not write the outcome of a job',
    'could not start a job',
    'unhandled rejection',
  ];
  return worth.map((message) => `${log.split(`"${message}"`).length - 1} x ${message}`).join(', ');
}
