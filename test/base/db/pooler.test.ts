import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { createClient } from '../../../worker/base/db/db.ts';
import { changesSessions, refusePooler } from '../../../worker/base/db/pooler.ts';
import { rowmillStarted, runRowmill } from '../../support/cli.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { startPooler, type PoolerOptions } from '../../support/pooler.ts';

// A transaction pooler is told from a way on which sessions are our own. Tried by hand with PgBouncer 1.18, too.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

async function lent(url: string, patienceMs?: number): Promise<boolean> {
  const clients = [createClient(url), createClient(url)] as const;
  for (const client of clients) client.on('error', () => {});
  try {
    for (const client of clients) await client.connect();
    return await changesSessions(...clients, patienceMs);
  } finally {
    for (const client of clients) await client.end().catch(() => {});
  }
}

suite('sessions are lent', () => {
  for (const lend of ['last', 'first'] as const)
    for (const size of [1, 2, 3, 5])
      test(`by a transaction pooler with ${size} of them, the ${lend} one first`, () =>
        tried({ mode: 'transaction', size, lend }, true));
  test('by a statement pooler', () => tried({ mode: 'statement', size: 2 }, true));
});

suite('sessions are our own', () => {
  test('on a direct connection', async () => assert.equal(await lent(db.url), false));
  test('behind a session pooler', () => tried({ mode: 'session', size: 2 }, false));
  test('behind one that is slow', () => tried({ mode: 'session', size: 2, delayMs: 100 }, false, 50));
  test('as far as can be seen, behind one that has no second session', async (t) => {
    const pooler = await startPooler(db.url, { mode: 'session', size: 1 });
    t.after(pooler.close);
    const only = createClient(pooler.url);
    await only.connect();
    await refusePooler(only, pooler.url);
    await only.end();
  });
});

async function tried(options: PoolerOptions, expected: boolean, patienceMs?: number): Promise<void> {
  const pooler = await startPooler(db.url, options);
  try {
    assert.equal(await lent(pooler.url, patienceMs), expected);
  } finally {
    await pooler.close();
  }
}

test('start and migrate refuse a transaction pooler with the reason, before they change anything', async (t) => {
  const empty = await createDatabase({ from: 'template0' });
  const pooler = await startPooler(empty.url, { mode: 'transaction', size: 3 });
  t.after(async () => {
    await pooler.close();
    await empty.drop();
  });
  for (const command of ['start', 'migrate']) {
    const env = { DATABASE_URL: pooler.url, PORT: '0' };
    const { code, stdout, stderr } = await rowmillStarted([command], { env }).ended;
    assert.deepEqual({ code, stdout }, { code: 2, stdout: '' });
    assert.match(
      stderr,
      /^error: DATABASE_URL goes through a transaction pooler, [^\n]*port 5432[^\n]*pool_mode = session\)\n$/,
    );
    assert.doesNotMatch(stderr, new RegExp(new URL(pooler.url).port));
  }
  const { rows } = await empty.query(`select from pg_class where relnamespace = 'public'::regnamespace`);
  assert.deepEqual(rows, []);
});

test('migrate works through a session pooler', async (t) => {
  const pooler = await startPooler(db.url, { mode: 'session', size: 3 });
  t.after(pooler.close);
  const { code, stdout, stderr } = await runRowmill(['migrate'], { env: { DATABASE_URL: pooler.url } });
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'up to date\n', stderr: '' });
});
