import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { setByIndex } from '../../../worker/base/db/by-index.ts';
import { createPool, type Db } from '../../../worker/base/db/db.ts';
import { bind, readStatements } from '../../../worker/base/db/sql.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { silent } from '../../support/log.ts';

// How the engine's connections run the statements of the ledger: each job is looked up by its id, whatever Postgres
// knows of the table. A connection keeps the plan that it makes first, so a bad one stays while the table grows.

const leaf = 'analytics_jobs_live';
const statements = readStatements(`${import.meta.dirname}/../../../worker/queue/run`, 'ledger.sql');

let db: TestDatabase;
let engine: Db;
before(async () => {
  db = await createDatabase();
  engine = createPool(db.url, { max: 1, log: silent, setUp: setByIndex });
  await db.query(`alter table ${leaf} set (autovacuum_enabled = off)`);
});
after(async () => {
  await engine.end();
  await db.drop();
});

type Plan = { 'Node Type': string; 'Relation Name'?: string; 'Index Cond'?: string; Plans?: Plan[] };
const nodes = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodes)];

/** The scans of the leaf that read all of it. */
async function wholeScans(name: string): Promise<Plan[]> {
  const { text, params } = bind(statements.get(name)!, { live: leaf, schema: 'public' });
  const nulls = params.map(() => 'null').join(', ');
  const tx = await engine.connect();
  try {
    await tx.query(`prepare planned as ${text}`);
    const { rows } = await tx.query<{ 'QUERY PLAN': { Plan: Plan }[] }>(
      `explain (format json) execute planned${nulls && `(${nulls})`}`,
    );
    return nodes(rows[0]!['QUERY PLAN'][0]!.Plan).filter(
      (node) =>
        node['Node Type'].endsWith('Scan') && node['Relation Name'] === leaf && node['Index Cond'] === undefined,
    );
  } finally {
    await tx.query('deallocate all');
    tx.release(true);
  }
}

const fills = {
  'an empty table': '',
  'a table of 5,000 rows without statistics': `
    insert into analytics_jobs (kind) select 'x' from generate_series(1, 5000)`,
  'a table of 5,000 rows': `vacuum analyze ${leaf}`,
};
for (const [table, fill] of Object.entries(fills))
  suite(table, () => {
    before(async () => void (await db.query(fill)));
    for (const name of statements.keys())
      test(`${name} ${name === 'recorded_attempts' ? 'reads all of it' : 'finds its jobs by their ids'}`, async () => {
        assert.equal((await wholeScans(name)).length, name === 'recorded_attempts' ? 1 : 0);
      });
  });
