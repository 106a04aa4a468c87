import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createPool, type Db } from '../../worker/base/db/db.ts';
import { query, readStatements, type Queryable } from '../../worker/base/db/sql.ts';
import { jointReads } from '../../worker/queue/reads.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { silent } from '../support/log.ts';

const sql = readStatements(
  {
    text: `
-- name: numbers
select n, :word || n as word from generate_series(1, :count) n
-- name: nothing
select n from generate_series(1, 0) n
-- name: queue
select name, paused, batch_size, null as missing from queues where name = :name and :word = 'a'
-- name: broken
select 1 / :by::integer as share
`,
  },
  '',
);
const statement = (name: string) => sql.get(name)!;

let db: TestDatabase;
let pool: Db;
/** The texts that were sent. */
const sent: string[] = [];
let reads: Queryable;
before(async () => {
  db = await createDatabase();
  pool = createPool(db.url, { max: 2, log: silent });
  const counting = {
    query: (config: { text: string }) => {
      sent.push(config.text);
      return pool.query(config);
    },
  } as unknown as Queryable;
  reads = jointReads(() => counting);
});
after(async () => {
  await pool.end();
  await db.drop();
});

test('reads of the same turn are one statement, and each gets its own rows', async () => {
  sent.length = 0;
  const answers = await Promise.all([
    query(reads, statement('numbers'), { word: '$1', count: 2 }),
    query(reads, statement('nothing')),
    query(reads, statement('queue'), { word: 'a', name: 'media' }),
  ]);
  assert.deepEqual(answers, [
    [
      { n: 1, word: '$11' },
      { n: 2, word: '$12' },
    ],
    [],
    [{ name: 'media', paused: false, batch_size: 1, missing: null }],
  ]);
  assert.equal(sent.length, 1);
});

test('a read that fails does not take the others along', async () => {
  sent.length = 0;
  const [broken, queue] = await Promise.allSettled([
    query(reads, statement('broken'), { by: 0 }),
    query(reads, statement('queue'), { word: 'a', name: 'media' }),
  ]);
  assert.equal((broken as PromiseRejectedResult).reason.message, 'division by zero');
  assert.equal(queue.status, 'fulfilled');
  assert.equal(sent.length, 3);
});
