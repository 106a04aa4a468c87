import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { z } from 'zod';
import { createApp } from '../../../worker/app.ts';
import { loadConfig } from '../../../worker/base/config/config.ts';
import { createClient, createPool, type Db } from '../../../worker/base/db/db.ts';
import { install } from '../../../worker/queue/install/install.ts';
import { job } from '../../../worker/queue/job.ts';
import { startWorker } from '../../../worker/queue/worker.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { add, reads } from '../../support/jobs.ts';
import { silent } from '../../support/log.ts';
import { describeSchema } from '../../support/schema.ts';

// The tables may lie in any schema: the first of the connection's search_path when they are made. Callers may have
// another.

let empty: TestDatabase;
let url: string;
/** Connections as the worker's, with search_path = app. */
let db: Db;
before(async () => {
  empty = await createDatabase({ from: 'template0' });
  await empty.query('create schema app');
  const withPath = new URL(empty.url);
  withPath.searchParams.set('options', '-c search_path=app');
  url = withPath.href;
  await install(url);
  db = createPool(url, { max: 5, log: silent });
});
after(async () => {
  await db.end();
  await empty.drop();
});

const names = async (schema: string) =>
  (await empty.query(`select relname from pg_class where relnamespace = $1::regnamespace`, [schema])).rows;

suite('in a schema other than public', () => {
  test('is all that the migrations make, and nothing is in public', async () => {
    assert.deepEqual(await names('public'), []);
    const ordinary = await createDatabase();
    try {
      assert.equal(await describeSchema(db), await describeSchema(ordinary));
    } finally {
      await ordinary.drop();
    }
  });

  test('installing again finds nothing to do', async () => {
    assert.deepEqual(await install(url), []);
  });

  test('the triggers work for callers with another search_path, who name the schema', async () => {
    const add1 = `insert into app.jobs (queue, kind, dedupe_key) values ('media', 'nobody', 'k')`;
    const first = await empty.query(`${add1} returning id, status, max_retries`);
    assert.equal(first.rows[0].max_retries, 3);
    assert.equal((await empty.query(add1)).rowCount, 0);
    const file = await empty.query(`insert into app.auction_files default values returning id`);
    await empty.query(`insert into app.publish_jobs (file_id, status, max_retries) values ($1, 'failed', 1)`, [
      file.rows[0].id,
    ]);
    const status = async () =>
      (await empty.query(`select publish_status from app.auction_files`)).rows[0].publish_status;
    assert.equal(await status(), 'failed');
    await empty.query(`update app.publish_jobs set max_retries = 2`);
    assert.equal(await status(), 'pending');
    const { rows } = await empty.query(`select task_identifier as queue from app_tickets.jobs order by 1`);
    assert.deepEqual(rows, [{ queue: 'media' }, { queue: 'publish' }]);
    await empty.query(`truncate app.jobs`);
    assert.deepEqual((await empty.query(`select from app.job_keys`)).rows, []);
  });

  test('a worker works there', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'rowmill-app-'));
    const app = createApp(loadConfig({ DATA_DIR: dir, WORKER_POLL_INTERVAL: '200' }), url, silent);
    const payload = z.record(z.string(), z.unknown());
    const handlers = [
      job({ name: 'media.echo', payload, run: async ({ payload: given }) => given }),
      job({ name: 'media.fail', payload, run: () => Promise.reject(new Error('no')) }),
    ];
    const worker = await startWorker(app, url, new Map(handlers.map((handler) => [handler.name, handler])));
    try {
      await db.query(`update queues set backoff_ms = 10`);
      const good = await add(db, 'media', 'echo', { payload: { a: 1 } });
      const bad = await add(db, 'media', 'fail', { max_retries: 1 });
      await reads(db, good, { status: 'completed', result: { a: 1 } });
      await reads(db, bad, { status: 'failed', retry_count: 1, attempt: 2 });
      await empty.query(`update app.media_jobs set status = 'pending' where id = $1`, [good]);
      await reads(db, good, { status: 'completed', attempt: 2 });
    } finally {
      await worker.stop();
      await app.close();
      await rm(dir, { recursive: true });
    }
  });
});

suite("a function that runs with its owner's rights", () => {
  test('has its search_path pinned, temporary tables last', async () => {
    const { rows } = await db.query<{ proname: string; proconfig: string[] | null }>(
      `select proname, proconfig from pg_proc where pronamespace = 'app'::regnamespace and prosecdef`,
    );
    assert.ok(rows.length >= 5);
    for (const { proname, proconfig } of rows) assert.ok(proconfig?.includes('search_path=app, pg_temp'), proname);
  });

  test('is not misled by tables and functions of the caller', async () => {
    const client = createClient(empty.url);
    await client.connect();
    try {
      await client.query(`
        create schema mine;
        create table mine.queues (name text, max_retries integer);
        create temporary table job_keys (queue text, dedupe_key text, job_id bigint, unique (queue, dedupe_key));
        create function mine.add_tickets(text[], text[], bigint[], smallint[], timestamptz[]) returns void
          language plpgsql as $$ begin raise exception 'misled'; end $$;
        set search_path to pg_temp, mine, app;
        insert into app.jobs (queue, kind, dedupe_key) values ('media', 'nobody', 'theirs')`);
      assert.deepEqual((await client.query(`select from pg_temp.job_keys`)).rows, []);
      const { rows } = await client.query(
        `select j.max_retries from app.job_keys k join app.jobs j on j.id = k.job_id where k.dedupe_key = 'theirs'`,
      );
      assert.deepEqual(rows, [{ max_retries: 3 }]);
    } finally {
      await client.end();
    }
  });
});
