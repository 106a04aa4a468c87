import type { Tx } from './db.ts';

/**
 * For statements that find a few rows of large tables by their keys: always by index and one row at a time, whatever
 * the statistics of a fresh table say. Up to Postgres 17, disabled plans look so expensive that statements would be
 * planned anew each time, which takes longer than to run them.
 */
const settings = {
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  enable_indexscan: 'on',
  enable_nestloop: 'on',
  plan_cache_mode: 'force_generic_plan',
};

/** For a session. */
export const setByIndex = Object.entries(settings)
  .map(([name, value]) => `set ${name} = ${value}`)
  .join('; ');

const locally = setByIndex.replaceAll('set ', 'set local ');
const asBefore = Object.keys(settings)
  .map((name) => `set local ${name} to default`)
  .join('; ');

/** Runs one statement so. The others of the transaction are planned as before. */
export async function byIndex<T>(tx: Tx, statement: () => Promise<T>): Promise<T> {
  await tx.query(locally);
  const answer = await statement();
  await tx.query(asBefore);
  return answer;
}
