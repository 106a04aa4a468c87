import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { listen, routes, type HttpServer } from '../../worker/http/server.ts';
import { createClient } from '../../worker/base/db/db.ts';
import { databaseUrl } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { createRig, type Rig } from '../support/worker.ts';

let rig: Rig;
let server: HttpServer;
let stop: () => Promise<void>;
const health = async () => {
  const response = await fetch(`http://127.0.0.1:${server.port}/health`);
  return { code: response.status, body: (await response.json()) as Record<string, any> };
};

before(async () => {
  rig = await createRig();
  const worker = await rig.worker({}, { QUEUES: 'media,cleanup' });
  stop = () => worker.stop();
  server = await listen(routes(worker), { host: '127.0.0.1', port: 0 });
});
after(async () => {
  await server.close();
  await rig.close();
});

test('GET /health says healthy while the worker works', async () => {
  const { code, body } = await eventually(async () => {
    const answer = await health();
    assert.equal(answer.code, 200);
    return answer;
  });
  assert.equal(code, 200);
  assert.equal(body['status'], 'healthy');
  assert.ok(body['uptime'] > 0);
  assert.ok(Math.abs(Date.parse(body['timestamp']) - Date.now()) < 5_000);
  assert.deepEqual(body['queues'], [
    { queue: 'cleanup', running: 0, concurrency: 1, paused: false },
    { queue: 'media', running: 0, concurrency: 2, paused: false },
  ]);
});

test('GET /health says degraded, and 200, while an incident is open', async () => {
  await rig.db.query(
    `insert into incidents (dependency, code, message, kinds)
     values ('storage', 'storage_full', 'words of the vendor', '{media.image}')`,
  );
  await eventually(async () => {
    const { code, body } = await health();
    assert.deepEqual([code, body['status']], [200, 'degraded']);
    const [incident] = body['incidents'];
    assert.deepEqual([incident.dependency, incident.code, incident.message], ['storage', 'storage_full', undefined]);
  });
  await rig.db.query('update incidents set resolved_at = now()');
  await eventually(async () => assert.equal((await health()).body['status'], 'healthy'));
});

test('GET /health says 503 with the reason while Postgres is gone, and recovers', async () => {
  const name = new URL(rig.db.url).pathname.slice(1);
  const admin = createClient(databaseUrl());
  await admin.connect();
  await admin.query(`alter database ${name} allow_connections false`);
  await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where datname = $1`, [name]);
  await eventually(async () => {
    const { code, body } = await health();
    assert.deepEqual([code, body['status']], [503, 'unhealthy']);
    assert.match(body['reason'], /Postgres cannot be reached|lost/);
  });
  await admin.query(`alter database ${name} allow_connections true`);
  await admin.end();
  await eventually(async () => assert.equal((await health()).code, 200));
});

test('a port that is taken is a clear error', async () => {
  await assert.rejects(listen(routes({} as never), { host: '127.0.0.1', port: server.port }), {
    name: 'UsageError',
    message: /is taken: set PORT/,
  });
});

test('GET /health says 503 once the worker shuts down', async () => {
  await stop();
  assert.equal((await health()).body['reason'], 'shutting down');
});
