import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { runMigrations, makeWorkerUtils } from 'graphile-worker';
import { installPeers, loadPeer, peerFile, redisAnswers, redisUrl } from '../bench/peers.ts';
import { applicationOptions } from '../support/hostile.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { unlessEverything } from '../support/everything.ts';
import { runFile } from '../support/sql-files.ts';

// sql/import/: jobs that wait in another queue become rows, each exactly once, and what is not meant stays.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

const jobs = async () =>
  (
    await db.query<Record<string, unknown>>(
      `select queue, kind, payload, priority, max_retries, dedupe_key, run_at > now() + interval '1 minute' as later
         from jobs order by id`,
    )
  ).rows;

/** As graphile-worker needs it, whatever the settings of the database say. */
function writable(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  url.searchParams.set('options', applicationOptions);
  return url.href;
}

test('from graphile-worker', async (t) => {
  t.after(() => db.query(`delete from jobs; drop schema graphile_worker cascade`));
  const connectionString = writable(db.url);
  await runMigrations({ connectionString });
  const utils = await makeWorkerUtils({ connectionString });
  t.after(() => utils.release());
  await utils.addJob('send_email', { to: 'a' }, { priority: 5, maxAttempts: 4 });
  await utils.addJob('send_email', { to: 'b' }, { jobKey: 'welcome-17', runAt: new Date(Date.now() + 3_600_000) });
  await utils.addJob('resize_image', { s3Key: 'a.jpg' });
  await utils.addJob('not_listed', {});
  await db.query(`update graphile_worker._private_jobs set locked_at = now(), locked_by = 'somebody'
                   where id = (select id from graphile_worker.jobs where task_identifier = 'resize_image')`);

  const moved = await runFile(db as never, 'import/graphile_worker.sql');
  assert.equal(moved.length, 2);
  assert.deepEqual(await jobs(), [
    {
      queue: 'notification',
      kind: 'email',
      payload: { to: 'a' },
      priority: 5,
      max_retries: 3,
      dedupe_key: 'graphile:1',
      later: false,
    },
    {
      queue: 'notification',
      kind: 'email',
      payload: { to: 'b' },
      priority: 0,
      max_retries: 24,
      dedupe_key: 'welcome-17',
      later: true,
    },
  ]);
  const { rows } = await db.query(`select task_identifier from graphile_worker.jobs order by id`);
  assert.deepEqual(
    rows.map((row) => row['task_identifier']),
    ['resize_image', 'not_listed'],
    'a started job, and one that is not listed',
  );
  assert.deepEqual(await runFile(db as never, 'import/graphile_worker.sql'), []);
});

test('what Rowmill refuses moves nothing', async (t) => {
  t.after(() => db.query(`delete from jobs; drop schema graphile_worker cascade`));
  const connectionString = writable(db.url);
  await runMigrations({ connectionString });
  const utils = await makeWorkerUtils({ connectionString });
  t.after(() => utils.release());
  await utils.addJob('send_email', { to: 'a' });
  await utils.addJob('send_email', { to: 'x'.repeat(1_100_000) });
  await assert.rejects(runFile(db as never, 'import/graphile_worker.sql'), /payload/);
  assert.equal((await db.query(`select from graphile_worker.jobs`)).rowCount, 2);
  assert.deepEqual(await jobs(), []);
});

test('from pgmq', { skip: unlessEverything }, async (t) => {
  installPeers();
  t.after(() => db.query(`delete from jobs; drop schema pgmq cascade`));
  // The extension is SQL alone. This package has it for another Postgres; Debian has none.
  const archive = peerFile('@electric-sql/pglite-pgmq', 'dist/pgmq.tar.gz');
  const { stdout } = spawnSync('tar', ['xzOf', archive, 'share/postgresql/extension/pgmq--1.11.1.sql']);
  await db.query(stdout.toString());
  await db.query(`select pgmq.create('emails')`);
  const send = (to: string, delay: number) => db.query(`select pgmq.send('emails', $1, $2::int)`, [{ to }, delay]);
  await send('read', 0);
  await send('delayed', 30);
  await send('waits', 0);
  await db.query(`select pgmq.read('emails', 60, 1)`);

  assert.equal((await runFile(db as never, 'import/pgmq.sql')).length, 1);
  const [moved, ...others] = await jobs();
  assert.deepEqual([moved!['payload'], moved!['dedupe_key'], others], [{ to: 'waits' }, 'pgmq:emails:3', []]);
  const { rows } = await db.query(`select queue_length, total_messages from pgmq.metrics('emails')`);
  assert.deepEqual(rows, [{ queue_length: 2, total_messages: 3 }]);
  assert.deepEqual(await runFile(db as never, 'import/pgmq.sql'), []);
});

test('from pg_cron: schedules, disabled', async (t) => {
  t.after(() => db.query(`delete from schedules where name like 'clean-%'; drop schema cron cascade`));
  await db.query(`create schema cron;
    create table cron.job (jobid bigserial, schedule text, command text, active boolean, jobname text);
    insert into cron.job (schedule, jobname) values
      ('*/5 * * * *', 'clean-stories'), ('30 seconds', 'clean-temp'), ('0 3 * * *', 'not-listed')`);
  const made = await runFile(db as never, 'import/pg_cron.sql');
  assert.deepEqual(Object.fromEntries(made.map(({ name, cron, kind }) => [name, [cron, kind]])), {
    'clean-stories': ['*/5 * * * *', 'stories'],
    'clean-temp': ['*/30 * * * * *', 'temp_files'],
  });
  const { rows } = await db.query(`select from schedules where name like 'clean-%' and (enabled or error is not null)`);
  assert.deepEqual(rows, []);
});

type PgBoss = {
  start(): Promise<unknown>;
  stop(options: object): Promise<void>;
  createQueue(name: string): Promise<void>;
  send(name: string, data: object, options?: object): Promise<string>;
  on(event: 'error', handle: () => void): void;
};

test('from pg-boss', { skip: unlessEverything }, async (t) => {
  installPeers();
  const { PgBoss } = await loadPeer<{ PgBoss: new (url: string) => PgBoss }>('pg-boss');
  const boss = new PgBoss(db.url);
  boss.on('error', () => {});
  await boss.start();
  t.after(async () => {
    await boss.stop({ graceful: false });
    await db.query(`delete from jobs; drop schema pgboss cascade`);
  });
  for (const name of ['send-email', 'not-listed']) await boss.createQueue(name);
  const first = await boss.send('send-email', { to: 'a' }, { priority: 5, retryLimit: 3 });
  const second = await boss.send('send-email', { to: 'b' }, { startAfter: 3_600, retryLimit: 0 });
  await boss.send('not-listed', {});

  assert.equal((await runFile(db as never, 'import/pg_boss.sql')).length, 2);
  assert.deepEqual(await jobs(), [
    {
      queue: 'notification',
      kind: 'email',
      payload: { to: 'a' },
      priority: -5,
      max_retries: 3,
      dedupe_key: `pgboss:${first}`,
      later: false,
    },
    {
      queue: 'notification',
      kind: 'email',
      payload: { to: 'b' },
      priority: 0,
      max_retries: 0,
      dedupe_key: `pgboss:${second}`,
      later: true,
    },
  ]);
  assert.equal((await db.query(`select from pgboss.job where name = 'not-listed'`)).rowCount, 1);
  assert.deepEqual(await runFile(db as never, 'import/pg_boss.sql'), []);
});

test(
  'from BullMQ, by the script of the README, also when it was killed between add and remove',
  { skip: unlessEverything },
  async (t) => {
    if (!(await redisAnswers()))
      return t.diagnostic(`no Redis answers at ${redisUrl()}: moving from BullMQ was not tried`);
    installPeers();
    type Bull = {
      add(name: string, data: object, options?: object): Promise<{ id: string }>;
      obliterate(options: object): Promise<void>;
      close(): Promise<void>;
    };
    const { Queue } = await loadPeer<{ Queue: new (name: string, options: object) => Bull }>('bullmq');
    const name = 'notification';
    const queue = new Queue(name, { connection: { url: redisUrl() } });
    t.after(async () => {
      await queue.obliterate({ force: true });
      await queue.close();
      await db.query(`delete from jobs`);
    });
    const one = await queue.add('email', { to: 'a' }, { attempts: 4 });
    const two = await queue.add('email', { to: 'b' }, { delay: 3_600_000, priority: 7 });
    await db.query(
      `insert into jobs (queue, kind, payload, dedupe_key) values ('notification', 'email', '{"to": "a"}', $1)`,
      [`${name}:${one.id}`],
    );

    const { code, said } = await runScript(t, [name]);
    assert.equal(code, 0, said);
    assert.match(said, /moved 2 jobs/);
    assert.deepEqual(
      (await jobs()).map(({ payload, priority, dedupe_key, later }) => ({ payload, priority, dedupe_key, later })),
      [
        { payload: { to: 'a' }, priority: 0, dedupe_key: `${name}:${one.id}`, later: false },
        { payload: { to: 'b' }, priority: 7, dedupe_key: `${name}:${two.id}`, later: true },
      ],
    );
  },
);

/** Runs the script as it stands in the README, where `rowmill` and `bullmq` are installed. */
async function runScript(
  t: { after(work: () => unknown): void },
  args: string[],
): Promise<{ code: number; said: string }> {
  const readme = await readFile(join(import.meta.dirname, '../../sql/import/README.md'), 'utf8');
  const script = /```ts\n([^]*?)```/
    .exec(readme)![1]!
    .replace('rowmill/bullmq', '../../../worker/queue/bullmq/queue.ts');
  const dir = await mkdtemp(join(import.meta.dirname, '../bench/.import-'));
  t.after(() => rm(dir, { recursive: true }));
  await writeFile(join(dir, 'import.ts'), script);
  const child = spawn(process.execPath, [join(dir, 'import.ts'), ...args], {
    env: { ...process.env, DATABASE_URL: db.url, REDIS_URL: redisUrl() },
  });
  const [said, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code: code as number, said: said + errors };
}
