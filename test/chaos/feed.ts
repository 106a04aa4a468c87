import { setTimeout as sleep } from 'node:timers/promises';
import { persist, type Ground } from './ground.ts';
import type { Batch } from './plan.ts';

/**
 * Inserts all batches, each at its time and exactly once. Adds the ids of the jobs to `ids` when Postgres has said that
 * they are committed.
 */
export async function feed(batches: Batch[], { db }: Ground, ids: number[]): Promise<void> {
  const began = performance.now();
  for (const [n, batch] of batches.entries()) {
    await sleep(Math.max(batch.at_ms - (performance.now() - began), 0));
    for (const id of await persist(() => insert(db, n, batch))) ids.push(id);
  }
}

/** The answer to a COMMIT may be lost: the number of the batch tells, when asked again, that it was done. */
async function insert(db: Ground['db'], n: number, { queue, into, jobs }: Batch): Promise<number[]> {
  const named = into === 'jobs';
  await db.query(
    `with once as (insert into batches values ($1) on conflict do nothing returning n),
          added as (insert into ${into} (${named ? 'queue, ' : ''}kind, priority, run_at, max_retries)
                    select ${named ? '$6, ' : ''}kind, priority, now() + make_interval(secs => delay_ms / 1000.0),
                      max_retries
                      from once, unnest($2::text[], $3::smallint[], $4::integer[], $5::integer[]) as j (kind, priority,
                        delay_ms, max_retries)
                    returning id)
     insert into submitted (job_id, batch) select id, $1 from added`,
    [
      n,
      jobs.map((job) => job.kind),
      jobs.map((job) => job.priority),
      jobs.map((job) => job.delay_ms),
      jobs.map((job) => job.max_retries),
      ...(named ? [queue] : []),
    ],
  );
  const { rows } = await db.query<{ job_id: number }>('select job_id from submitted where batch = $1', [n]);
  return rows.map((row) => row.job_id);
}
