import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { createPool } from '../worker/base/db/db.ts';
import { startTestWorker, type TestWorker } from '../worker/testing/testing.ts';
import { createDatabase } from './support/database.ts';

// The worker for tests of one's own kinds, as rowmill/testing gives it.

const module = (path: string) => pathToFileURL(join(import.meta.dirname, '..', path)).href;
const files = {
  'migrations/0001_greetings.sql': 'create table greetings (job_id bigint primary key, greeting text not null)',
  'jobs/greeting/hello.ts': `
    import { job, PermanentError, Snooze } from '${module('worker/queue/job.ts')}';
    import { z } from '${module('node_modules/zod/index.js')}';
    export default job({
      name: 'greeting.hello',
      payload: z.object({ to: z.string(), later: z.boolean().optional() }),
      async run({ job, payload, commit }) {
        if (payload.to === 'nobody') throw new PermanentError('nobody_there', 'Nobody is there');
        if (payload.to === 'deaf' && job.attempt < 3) throw new Error('not heard');
        if (payload.later && job.attempt === 1) throw new Snooze(3_600_000, 'later');
        return commit(async (tx) => {
          await tx.query('insert into greetings values ($1, $2)', [job.id, 'Hello, ' + payload.to]);
          return { greeted: payload.to };
        });
      },
    });`,
};
let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'testing-'));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true });
    await writeFile(join(dir, name), text);
  }
});
after(() => rm(dir, { recursive: true }));

const own = () => ({ jobs: join(dir, 'jobs'), migrations: join(dir, 'migrations') });

suite('on an embedded Postgres', () => {
  let worker: TestWorker;
  before(async () => {
    worker = await startTestWorker(own());
  });
  after(() => worker.stop());

  test('a job runs to its end, and what it wrote is there', async () => {
    const row = await worker.run('greeting.hello', { to: 'you' });
    assert.deepEqual([row.status, row.attempt, row.result], ['completed', 1, { greeted: 'you' }]);
    const { rows } = await worker.db.query('select greeting from greetings where job_id = $1', [row.id]);
    assert.deepEqual(rows, [{ greeting: 'Hello, you' }]);
  });

  test('a job that fails is a row too; one that is retried ends at once', async () => {
    const failed = await worker.run('greeting.hello', { to: 'nobody' });
    assert.deepEqual([failed.status, failed.error_code], ['failed', 'nobody_there']);
    const retried = await worker.run('greeting.hello', { to: 'deaf' });
    assert.deepEqual([retried.status, retried.attempt, retried.retry_count], ['completed', 3, 2]);
  });

  test('what does not fit is refused as it is by the client', async () => {
    await assert.rejects(worker.run('greeting.hello', { to: 1 }), { name: 'InvalidJob', message: /^payload\.to: / });
    await assert.rejects(
      worker.run('greeting.helo', {}),
      /No handler is named greeting\.helo: is it greeting\.hello\?/,
    );
    await assert.rejects(worker.run('media.image', {}), /does not serve queue media, but greeting$/);
  });

  test('a job that waits for a time has settled, and runs after advance', async () => {
    const kind = { name: 'greeting.hello', payload: { '~standard': accepting } } as const;
    const { id } = await worker.client.add(kind, { to: 'snoozer', later: true });
    const expires_at = new Date(Date.now() + 90_000_000);
    const due = await worker.client.add(kind, { to: 'tomorrow' }, { delay_ms: 86_400_000, expires_at });
    const statuses = async () => {
      await worker.settled();
      return Promise.all([id, due.id].map(async (each) => (await worker.client.show(each))!.status));
    };
    assert.deepEqual(await statuses(), ['pending', 'pending']);
    await worker.advance(3_600_000);
    assert.deepEqual(await statuses(), ['completed', 'pending']);
    const { rows } = await worker.db.query('select expires_at from jobs where id = $1', [due.id]);
    assert.deepEqual(rows, [{ expires_at: new Date(expires_at.getTime() - 3_600_000) }]);
    await worker.advance(82_800_000);
    assert.deepEqual(await statuses(), ['completed', 'completed']);
  });

  test('settled gives up on a job that does not end, and names it', async () => {
    await worker.db.query(`update queues set rate_limit = 1 where name = 'greeting'`);
    await worker.db.query(`update rate_limits set tokens = -1000`);
    const kind = { name: 'greeting.hello', payload: { '~standard': accepting } } as const;
    const added = await worker.client.addMany(
      kind,
      Array.from({ length: 9 }, () => ({ payload: { to: 'x' } })),
    );
    await assert.rejects(
      worker.settled({ timeoutMs: 100 }),
      /^Error: Jobs have not settled within 100 ms: greeting\.hello \d+ is /,
    );
    await worker.client.cancel(added.map(({ id }) => id));
    await worker.db.query(`update queues set rate_limit = null`);
    await worker.settled();
  });

  test('another worker of the process has a database of its own', async () => {
    await using other = await startTestWorker({ env: { QUEUES: 'cleanup' } });
    assert.notEqual(other.databaseUrl, worker.databaseUrl);
    const { status } = await other.run('cleanup.finished_jobs', {});
    assert.equal(status, 'completed');
    const { rows } = await other.db.query(`select from pg_tables where tablename = 'greetings'`);
    assert.equal(rows.length, 0);
  });
});

const accepting = { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } as const;

test('on a database of one’s own nothing is dropped when the worker stops', async () => {
  const given = await createDatabase({ from: 'template0' });
  {
    await using worker = await startTestWorker({ ...own(), databaseUrl: given.url });
    assert.equal((await worker.run('greeting.hello', { to: 'you' })).status, 'completed');
  }
  const { rows } = await given.query(`select greeting from greetings`);
  assert.deepEqual(rows, [{ greeting: 'Hello, you' }]);
  await given.drop();
});

test('a start that fails leaves nothing behind', async () => {
  const broken = join(dir, 'broken');
  await cp(join(dir, 'migrations'), broken, { recursive: true });
  await writeFile(join(broken, '0002_slip.sql'), 'create tabel x ()');
  const given = await createDatabase({ from: 'template0' });
  await assert.rejects(
    startTestWorker({ migrations: broken, databaseUrl: given.url }),
    /0002_slip\.sql:1 could not be applied/,
  );
  const watching = createPool(given.url, { max: 1, log: { warn() {} } });
  const { rows } = await watching.query(
    `select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
  );
  assert.ok(rows.length <= 1);
  await watching.end();
  await given.drop();
});
