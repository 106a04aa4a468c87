import type { Database } from './server.ts';

/** What jobs of queue analytics pass through. */
const tables = ['analytics_jobs_live', 'analytics_jobs_done', 'rowmill_tickets._private_jobs'] as const;

/** Bytes of each table with its indexes. */
export async function sizes(db: Database): Promise<Record<(typeof tables)[number], number>> {
  const { rows } = await db.query<{ name: string; bytes: number }>(
    'select name, pg_total_relation_size(name::regclass) as bytes from unnest($1::text[]) name',
    [tables],
  );
  return Object.fromEntries(rows.map(({ name, bytes }) => [name, bytes])) as Awaited<ReturnType<typeof sizes>>;
}

/** @param option of VACUUM, such as `analyze` */
export async function vacuum(db: Database, option = ''): Promise<void> {
  for (const table of tables) await db.query(`vacuum ${option && `(${option})`} ${table}`);
}
