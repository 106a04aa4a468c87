import assert from 'node:assert/strict';
import type { Db } from '../../worker/base/db/db.ts';

/** All of a database as text, as a dump has it: a line for each row. */
export async function dump(db: Db): Promise<string[]> {
  const tables = await db.query<{ name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')`,
  );
  assert.ok(tables.rows.some(({ name }) => name === 'public.notification_jobs_live'));
  const texts = tables.rows.map(({ name }) =>
    db.query<{ text: string | null }>(`select t::text as text from ${name} t`),
  );
  return (await Promise.all(texts)).flatMap(({ rows }) => rows.map(({ text }) => text ?? ''));
}
