import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { runRowmill } from '../../support/cli.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { startPooler } from '../../support/pooler.ts';
import { spawnWorker } from '../../support/processes.ts';
import { makeAuthority, startTlsDoor } from '../../support/tls-door.ts';

// A worker process on databases as hosts give them: behind a pooler, with a private authority, over IPv6 alone.

let db: TestDatabase;
let dir: string;
before(async () => {
  db = await createDatabase();
  dir = await mkdtemp(join(tmpdir(), 'rowmill-hosted-'));
  for (const name of ['ours', 'another']) await makeAuthority(dir, name, 'localhost');
});
after(async () => {
  await db.drop();
  await rm(dir, { recursive: true });
});

/** That a worker at this address does fifty jobs. */
async function works(t: TestContext, url: string, env: Record<string, string> = {}): Promise<void> {
  const worker = await spawnWorker(url, env);
  t.after(() => worker.end('SIGKILL'));
  await db.query(`
    delete from media_jobs;
    insert into media_jobs (kind, payload) select 'slow', '{"ms": 5}' from generate_series(1, 50)`);
  await eventually(async () => {
    const { rows } = await db.query(`select status, count(*)::int from media_jobs group by 1`);
    assert.deepEqual(rows, [{ status: 'completed', count: 50 }]);
  });
  assert.equal(await worker.end('SIGTERM'), 0);
}

/** The address, where its database is to be had now. */
function at(host: string, port: number, params: Record<string, string> = {}): string {
  const url = new URL(db.url);
  url.host = `${host}:${port}`;
  for (const [name, value] of Object.entries(params)) url.searchParams.set(name, value);
  return url.href;
}

test('a session pooler that lends fifteen sessions, of which one is for a person', async (t) => {
  const pooler = await startPooler(db.url, { mode: 'session', size: 15 });
  t.after(pooler.close);
  await works(t, pooler.url, { DATABASE_CONNECTIONS: '14', WORKER_CONCURRENCY: '50' });
});

test('TLS with a private authority: worked with where it is named, else refused by a reason', async (t) => {
  const door = await startTlsDoor(db.url, dir, 'ours');
  t.after(door.close);
  const full = (host: string, name: string) =>
    at(host, door.port, { sslmode: 'verify-full', sslrootcert: join(dir, `${name}.pem`) });
  await works(t, full('localhost', 'ours'));

  const refused = async (url: string) => {
    const { code, stderr } = await runRowmill(['status'], { env: { DATABASE_URL: url } });
    assert.equal(code, 1);
    return stderr;
  };
  assert.match(await refused(full('localhost', 'another')), /certificate[^]*check sslmode/);
  assert.match(await refused(full('127.0.0.1', 'ours')), /not in the cert's list|altnames[^]*check sslmode/);
  assert.match(await refused(at('localhost', door.port, { sslmode: 'verify-full' })), /certificate[^]*check sslmode/);
});

test('an address of IPv6 alone', async (t) => {
  const inside = new URL(db.url);
  const way = createServer((client) => {
    const server = connect(Number(inside.port), inside.hostname);
    for (const socket of [client, server]) socket.on('error', () => {});
    client.pipe(server).pipe(client);
  });
  await once(way.listen({ port: 0, host: '::1', ipv6Only: true }), 'listening');
  t.after(() => way.close());
  await works(t, at('[::1]', (way.address() as AddressInfo).port));
});
