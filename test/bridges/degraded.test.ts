import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadConfig } from '../../worker/base/config/config.ts';
import { startService, type Service } from '../../worker/main.ts';
import { runRowmill } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { silent } from '../support/log.ts';

// Bridges whose sources are not there: the worker works, and /health, `rowmill status` and the doctor say what is off.

const password = 'canary-of-the-broker';
const nowhere = {
  RABBITMQ_URL: `amqp://bridge:${password}@127.0.0.1:1`,
  SQS_QUEUE_URL: 'media.image=http://127.0.0.1:1/000000000000/jobs',
  SQS_ENDPOINT: 'http://127.0.0.1:1',
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'key',
  AWS_SECRET_ACCESS_KEY: 'secret-of-nobody',
};

let db: TestDatabase;
let dir: string;
let service: Service;
let env: Record<string, string>;
before(async () => {
  db = await createDatabase();
  dir = await mkdtemp(join(tmpdir(), 'rowmill-degraded-'));
  env = { DATABASE_URL: db.url, DATA_DIR: dir, PORT: '0', QUEUES: 'notification', NODE_ENV: 'test', ...nowhere };
  service = await startService(loadConfig(env), silent);
});
after(async () => {
  await service.stop();
  await db.drop();
  await rm(dir, { recursive: true, force: true });
});

const health = async () => {
  const response = await fetch(`http://127.0.0.1:${service.port}/health`);
  return { code: response.status, text: await response.text() };
};
const off = ['rabbitmq', 'sqs:jobs'];

test('/health is degraded, not dead, and says which bridge is off and why, and no address', async () => {
  await eventually(async () => {
    const { code, text } = await health();
    const { status, bridges } = JSON.parse(text);
    assert.deepEqual([code, status], [200, 'degraded']);
    const told = bridges.map((each: any) => [each.bridge, each.connected, each.code]);
    assert.deepEqual(
      told,
      off.map((name) => [name, false, 'ECONNREFUSED']),
    );
    assert.doesNotMatch(text, new RegExp(`${password}|127\\.0\\.0\\.1`));
  });
});

test('the worker works all the same', async () => {
  const { rows } = await db.query(
    `insert into notification_jobs (kind, payload) values ('email', '{"email": "a@example.com", "title": "x"}')
     returning id`,
  );
  await eventually(async () => {
    const found = await db.query('select status from jobs where id = $1', [rows[0].id]);
    assert.equal(found.rows[0].status, 'completed');
  });
});

test('rowmill status has a column of bridges, and the doctor says which are off', async () => {
  await eventually(async () => {
    const { stdout, code } = await runRowmill(['status'], { env });
    assert.equal(code, 0);
    assert.match(stdout, / QUEUES +BRIDGES$/m);
    assert.match(stdout, / notification +rabbitmq: off, sqs:jobs: off$/m);
  });
  await db.query(
    `update workers
        set bridges = replace(bridges::text, (bridges -> 0 ->> 'since'), '2026-01-01T00:00:00.000Z')::jsonb`,
  );
  const doctor = await runRowmill(['doctor'], { env });
  assert.match(doctor.stdout, /bridge rabbitmq of worker \d+ on \S+ has not been connected for /);
  assert.match(doctor.stdout, /RabbitMQ +127\.0\.0\.1:1: .*ECONNREFUSED/);
  assert.doesNotMatch(doctor.stdout + doctor.stderr, new RegExp(password));
});
