import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createPool, type Db } from '../../worker/base/db/db.ts';
import { openSessions } from '../../worker/base/db/session.ts';
import { jobs } from '../../worker/http/jobs.ts';
import { loadRegistry, type Registry } from '../../worker/queue/registry.ts';
import { createDatabase, patient, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { slow } from '../support/everything.ts';
import { silent } from '../support/log.ts';
import { startProxy } from '../support/proxy.ts';

// POST /jobs, and what it asks of Postgres: how often, and what is answered when Postgres does not answer.

const token = `token-${randomUUID()}`;
const settings = { NODE_ENV: 'test', DATA_DIR: tmpdir(), INGRESS_TOKENS: `shop:${token}` };
let database: TestDatabase;
let registry: Registry;
before(async () => {
  database = await createDatabase();
  registry = await loadRegistry();
});
after(() => database.drop());

type Routes = ReturnType<typeof jobs>;
const job = (n: number) => ({ kind: 'media.image', payload: { s3Key: `uploads/${n}.jpg` } });

async function post(http: Routes, body: unknown, key?: string) {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const response = await http.request('/jobs', {
    method: 'POST',
    headers: { ...headers, ...(key ? { 'idempotency-key': key } : {}) },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as any };
}

/** How many statements `work` sends by a pool of one connection. */
async function statements(db: Db, work: () => Promise<unknown>): Promise<number> {
  const sent = () =>
    openSessions.values().reduce((sum, session) => sum + (pids.has(session.pid) ? session.statement : 0), 0);
  const client = await db.connect();
  const pids = new Set([(await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!.pid]);
  client.release();
  const sentBefore = sent();
  await work();
  // Each is counted when it is sent, and when it is answered.
  return (sent() - sentBefore) / 2;
}

test('a list is one statement, with keys too; with known keys it is compared as a whole', async () => {
  const db = createPool(database.url, { max: 1, log: silent, ...patient });
  const http = jobs({ db, config: loadConfig(settings), log: silent }, registry);
  const list = Array.from({ length: 100 }, (_, n) => job(n));
  const answers: Awaited<ReturnType<typeof post>>[] = [];
  const counted = (body: unknown, key?: string) =>
    statements(db, async () => void answers.push(await post(http, body, key)));
  assert.equal(await counted(list), 1);
  assert.equal(await counted(list, 'once'), 1);
  assert.ok((await counted(list, 'once')) <= 8);
  const [, first, again] = answers;
  assert.deepEqual([first!.status, again!.status], [201, 200]);
  assert.deepEqual(
    again!.body.map(({ id }: { id: number }) => id),
    first!.body.map(({ id }: { id: number }) => id),
  );

  // One known key of another content takes back the new ones, too.
  const count = async () => (await database.query('select from jobs')).rowCount;
  const jobsBefore = await count();
  const mixed = [
    { ...job(1), dedupeKey: 'new' },
    { ...job(2), dedupeKey: 'http:shop:once#3' },
  ];
  const refused = await post(http, mixed);
  assert.deepEqual([refused.status, refused.body.code], [422, 'key_reused']);
  const twice = await post(
    http,
    [1, 1].map((n) => ({ ...job(n), dedupeKey: 'twice' })),
  );
  assert.deepEqual(
    twice.body.map(({ created }: { created: boolean }) => created),
    [true, false],
  );
  assert.equal(await count(), jobsBefore! + 1);
  await db.end();
});

slow('while Postgres hangs, a request is answered 503 in time; repeated, each job is there once', async () => {
  const proxy = await startProxy(database.url);
  const limits = { connectTimeoutMs: 10_000, queryTimeoutMs: 10_000 };
  const db = createPool(proxy.url, { max: 3, log: silent, ...limits });
  const config = loadConfig({ ...settings, INGRESS_MAX_BACKLOG: '100000' });
  const http = jobs({ db, config, log: silent }, registry, { timeoutMs: 1_000 });
  await eventually(async () => assert.equal((await post(http, job(0), 'before')).status < 300, true));
  proxy.freeze();
  const bodies: [string, unknown][] = [
    ['one', job(1)],
    ['other', job(2)],
    ['list', [job(3), job(4)]],
    ['more', Array.from({ length: 50 }, (_, n) => job(n))],
  ];
  for (let round = 0; round < 3; round += 1)
    for (const { status, body } of await Promise.all(bodies.map(([key, given]) => post(http, given, key)))) {
      assert.deepEqual([status, body.code], [503, 'unavailable']);
      assert.match(body.detail, /nobody knows whether jobs were added. Repeat the request with the same key/);
    }
  proxy.thaw();
  for (const [key, body] of bodies)
    await eventually(async () => assert.ok([200, 201].includes((await post(http, body, key)).status)));
  const { rows } = await database.query(
    `select count(*)::int as jobs from jobs where dedupe_key ~ '^http:shop:(before|one|other|list|more)'`,
  );
  assert.deepEqual(rows, [{ jobs: 1 + 1 + 1 + 2 + 50 }]);
  await db.end();
  await proxy.close();
});
