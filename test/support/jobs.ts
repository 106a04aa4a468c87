import assert from 'node:assert/strict';
import type { Queryable } from '../../worker/base/db/sql.ts';
import { eventually } from './eventually.ts';

export type Row = Record<string, any> & { id: number; status: string };

/** Inserts a job with only the columns a test cares about, and gives its id. */
export async function add(
  db: Queryable,
  queue: string,
  kind: string,
  columns: Record<string, unknown> = {},
): Promise<number> {
  const row = {
    queue,
    kind,
    ...columns,
    ...('payload' in columns ? { payload: JSON.stringify(columns['payload']) } : {}),
  };
  const names = Object.keys(row);
  const inserted = await db.query<{ id: number }>(
    `insert into jobs (${names.join(', ')}) values (${names.map((_, index) => `$${index + 1}`).join(', ')})
      returning id`,
    Object.values(row),
  );
  return inserted.rows[0]!.id;
}

export async function rows(db: Queryable, ids: number[]): Promise<Row[]> {
  return (await db.query<Row>(`select * from jobs where id = any($1) order by id`, [ids])).rows;
}

/** Waits until the job's row has these values, and gives the row. */
export function reads(db: Queryable, id: number, expected: Partial<Row>, withinMs?: number): Promise<Row> {
  return eventually(async () => {
    const [row] = await rows(db, [id]);
    assert.ok(row, `job ${id} is gone`);
    assert.deepEqual(Object.fromEntries(Object.keys(expected).map((name) => [name, row[name]])), expected);
    return row;
  }, withinMs);
}

/** Waits until an attempt of the job has failed. */
export async function failsOnce(db: Queryable, id: number): Promise<void> {
  await eventually(async () => {
    const { rows: failed } = await db.query(`select from job_errors where job_id = $1`, [id]);
    assert.notEqual(failed.length, 0, `no attempt of job ${id} has failed`);
  });
}
