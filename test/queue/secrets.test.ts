import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { createApp, type App } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createLog } from '../../worker/base/log.ts';
import { job } from '../../worker/queue/job.ts';
import { startWorker, type Worker } from '../../worker/queue/worker.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { add, reads } from '../support/jobs.ts';

// A canary goes through every channel of a job, and a configured secret into an error: neither may come out in a log
// line, and the secret not in a text column either.

const canary = 'canary-41d5';
const secret = 'raid-secret-9f3b';
let db: TestDatabase;
let app: App;
let worker: Worker;
let logged = '';

before(async () => {
  db = await createDatabase();
  const config = loadConfig({
    LOG_LEVEL: 'trace',
    QUEUES: 'media',
    RAID_PUB_ENDPOINT: 'http://127.0.0.1:1',
    RAID_PUBLISHER_SECRET: secret,
  });
  const sink = new Writable({
    write(chunk, _, done) {
      logged += String(chunk);
      done();
    },
  });
  app = createApp(config, db.url, createLog(config, sink));
  const payload = z.object({ phone: z.string() }).loose();
  const kinds = [
    job({ name: 'media.tell', payload, run: async ({ payload: { phone } }) => ({ sent_to: phone }) }),
    job({
      name: 'media.leak',
      payload,
      run: async () => {
        throw new Error(`refused: Bearer ${secret}`);
      },
    }),
  ];
  worker = await startWorker(app, db.url, new Map(kinds.map((kind) => [kind.name, kind])));
});
after(async () => {
  await worker.stop();
  await app.close();
  await db.drop();
});

test('payloads and results stay out of the log, whatever becomes of the job', async () => {
  const [told, leaked, unfit] = [
    await add(db, 'media', 'tell', { payload: { phone: canary }, dedupe_key: canary }),
    await add(db, 'media', 'leak', { payload: { phone: canary }, max_retries: 0 }),
    await add(db, 'media', 'tell', { payload: { phone: [canary] } }),
  ];
  await reads(db, told, { status: 'completed' });
  await reads(db, leaked, { status: 'failed', error: 'refused: Bearer [redacted]' });
  await reads(db, unfit, { status: 'failed', error_code: 'invalid_payload' });
  assert.match(logged, /"kind":"tell".*"outcome":"completed"/);
  assert.match(
    logged,
    /"error_code":"unexpected_error".*"at":"at [\w.]*run \(test\/queue\/secrets\.test\.ts:\d+:\d+\)"/,
  );
  assert.doesNotMatch(logged, new RegExp(`${canary}|${secret}`));
  const { rows } = await db.query(`select string_agg(error, ' ') as errors from job_errors`);
  assert.doesNotMatch(rows[0].errors, new RegExp(`${canary}|${secret}`));
});
