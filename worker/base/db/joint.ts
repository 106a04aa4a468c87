import { preparedName, query, type Queryable, type Statement } from './sql.ts';

export type Read = { text: string; values: unknown[] };

/**
 * Runs several reads as one statement: a round trip for each costs an idle process more than the reads themselves.
 * Values come as JSON has them, so a read selects its timestamps as text.
 * @returns the rows of each
 */
export async function readJointly(db: Queryable, reads: Read[]): Promise<object[][]> {
  const values = reads.flatMap((read) => read.values);
  const statement = jointStatement(reads);
  const named = Object.fromEntries(statement.params.map((param, index) => [param, values[index]]));
  const [row] = await query<Record<string, object[]>>(db, statement, named);
  return reads.map((_, index) => row![`read${index}`]!);
}

function jointStatement(reads: Read[]): Statement {
  const params: string[] = [];
  const parts = reads.map(({ text, values }, index) => {
    const before = params.length;
    params.push(...values.map((_, at) => `value${before + at}`));
    const mine = text.replace(/\$(\d+)/g, (_, n: string) => `$${Number(n) + before}`);
    return `(select coalesce(pg_catalog.json_agg(r), '[]') from (${mine}) r) as read${index}`;
  });
  const text = `select ${parts.join(', ')}`;
  return { name: 'joint', text, params, prepared: preparedName('joint', text) };
}
