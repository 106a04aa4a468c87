import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { after, before, mock } from 'node:test';
import { z } from 'zod';
import { createApp, type App } from '../../../worker/app.ts';
import { loadConfig } from '../../../worker/base/config/config.ts';
import { createLog } from '../../../worker/base/log.ts';
import { routes } from '../../../worker/http/server.ts';
import { job } from '../../../worker/queue/job.ts';
import { startWorker, type Worker } from '../../../worker/queue/worker.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { slow } from '../../support/everything.ts';
import { add, reads } from '../../support/jobs.ts';

let db: TestDatabase;
let app: App;
let worker: Worker;
const lines = new PassThrough();
before(async () => {
  // What is tested is how long ago something was: only the clock that tells the time of day is the test's.
  mock.timers.enable({ apis: ['Date'], now: Date.now() });
  db = await createDatabase();
  app = createApp(
    loadConfig({ DATABASE_URL: db.url, QUEUES: 'media', WORKER_POLL_INTERVAL: '200', NODE_ENV: 'test' }),
    db.url,
    createLog({ logLevel: 'info', secrets: [] }, lines),
  );
  const echo = job({ name: 'media.echo', payload: z.object({}), run: async () => 1 });
  worker = await startWorker(app, db.url, new Map([[echo.name, echo]]));
});
after(async () => {
  await worker.stop();
  await app.close();
  await db.drop();
  mock.timers.reset();
});

slow('due jobs that nobody claims are told in /health and in the log, though Postgres answers each look', async () => {
  const health = async () => {
    const { status, reason } = (await (await routes(worker).request('/health')).json()) as Record<string, string>;
    return { status, reason };
  };
  await eventually(async () => assert.deepEqual(await health(), { status: 'healthy', reason: undefined }));
  await db.query(`
    create function keep() returns trigger language plpgsql as 'begin return null; end';
    create trigger keep before update on rowmill_tickets._private_jobs
      for each row when (old.locked_at is null and new.locked_at is not null) execute function keep()`);
  const id = await add(db, 'media', 'echo', { run_at: new Date(Date.now() - 60_000) });
  mock.timers.tick(16_000);

  const reason = 'jobs of queue media have been due for more than 15 s, and nobody claims them';
  await eventually(async () => assert.deepEqual(await health(), { status: 'unhealthy', reason }));
  let log = '';
  lines.on('data', (chunk: Buffer) => (log += chunk.toString()));
  const logged = (message: string) =>
    eventually(() =>
      assert.ok(
        log.split('\n').some((line) => line.includes(`"reason":"${reason}"`) && line.includes(message)),
        log,
      ),
    );
  await logged('this worker is unhealthy');

  await db.query('drop trigger keep on rowmill_tickets._private_jobs');
  await reads(db, id, { status: 'completed' });
  await logged('this worker is healthy again');
  assert.equal((await health()).status, 'healthy');
});
