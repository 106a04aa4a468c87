import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, suite, test } from 'node:test';
import sharp from 'sharp';
import { withSchema } from '../../../worker/base/address.ts';
import { loadConfig } from '../../../worker/base/config/config.ts';
import { createClient, createPool, transaction, type Db } from '../../../worker/base/db/db.ts';
import { startService, type Service } from '../../../worker/main.ts';
import { createClient as createRowmillClient } from '../../../worker/queue/client/client.ts';
import { install } from '../../../worker/queue/install/install.ts';
import finishedJobs from '../../../worker/jobs/cleanup/finished_jobs.ts';
import { runRowmill } from '../../support/cli.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { graphileWorkers } from '../../support/graphile-versions.ts';
import { eventually } from '../../support/eventually.ts';
import { applicationOptions } from '../../support/hostile.ts';
import { add, reads } from '../../support/jobs.ts';
import { silent } from '../../support/log.ts';

// One database with the tables of an application, three applications on graphile-worker of three versions, and two
// Rowmills, which belong to a role that is no superuser: nobody sees or touches what is another's.

const apps = { '0.13': 'graphile_worker', '0.16': 'app_16', '0.18': 'app_18' };
const theirs = `
  create table jobs (id serial primary key, title text); insert into jobs (title) values ('gardener');
  create table queues (n integer); create table workers (name text); create table listeners (n integer);
  create table media (id bigserial primary key, status text); insert into media (status) values ('theirs');
  create table auction_files (id bigserial primary key);
  create function announce(text) returns text language sql as 'select $1'`;

let db: TestDatabase;
/** The address as the applications have it. */
let theirUrl: string;
let owner: string;
let dir: string;
before(async () => {
  db = await createDatabase({ from: 'template0' });
  dir = await mkdtemp(join(tmpdir(), 'rowmill-shared-'));
  const role = new URL(db.url).pathname.slice(1).replace('t_', 'r_');
  await db.query(
    `${theirs}; create role ${role} login password 'sesame'; grant create on database t${role.slice(1)} to ${role}`,
  );
  const url = new URL(db.url);
  url.searchParams.set('options', applicationOptions);
  theirUrl = url.href;
  url.searchParams.delete('options');
  [url.username, url.password] = [role, 'sesame'];
  owner = url.href;
});
after(async () => {
  const role = new URL(owner).username;
  await db.query(`drop owned by ${role}; drop role ${role}`);
  await db.drop();
  await rm(dir, { recursive: true, force: true });
});

const schemas = async () =>
  (
    await db.query<{ nspname: string }>(
      `select nspname from pg_namespace where nspname !~ '^(pg_|information)' order by 1`,
    )
  ).rows.map((row) => row.nspname);

/** Everything of a schema that a migration or a claim would change. */
async function contents(schema: string): Promise<unknown> {
  const { rows } = await db.query(
    `select (select array_agg(c.relname || ' ' || c.relfilenode
                               || coalesce((select string_agg(attname, ',' order by attnum) from pg_attribute a
                                             where a.attrelid = c.oid), '') order by c.relname)
               from pg_class c where c.relnamespace = $1::regnamespace) as relations,
            (select array_agg(p.proname || md5(p.prosrc) order by p.proname, p.oid) from pg_proc p
              where p.pronamespace = $1::regnamespace) as functions`,
    [schema],
  );
  return rows[0];
}

type App = { name: string; schema: string; child: ChildProcess; lines: string[] };

function startApp(name: string, schema: string): App {
  const script = join(import.meta.dirname, '../../support/graphile-app.ts');
  const child = spawn(process.execPath, [script, name, schema, theirUrl], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on(
    'line',
    (line) => /^(ready|holds|did|ended)/.test(line) && lines.push(line),
  );
  return { name, schema, child, lines };
}

const says = (app: App, line: RegExp) =>
  eventually(
    () =>
      assert.ok(
        app.lines.some((said) => line.test(said)),
        `${app.name}: ${app.lines.join()}`,
      ),
    30_000,
  );

/** A Rowmill in a schema of its own, with a worker. */
async function startRowmill(schema: string): Promise<{ service: Service; db: Db; url: string }> {
  const env = {
    DATABASE_URL: owner,
    ROWMILL_SCHEMA: schema,
    QUEUES: 'media,cleanup',
    PORT: '0',
    DATA_DIR: join(dir, schema),
    NODE_ENV: 'test',
  };
  const config = loadConfig(env);
  const service = await startService(config, silent);
  return { service, url: config.databaseUrl!, db: createPool(config.databaseUrl!, { max: 3, log: silent }) };
}

test('without a schema of its own Rowmill names what is in the way, exits 2, and makes nothing', async () => {
  const found = [await schemas(), await contents('public')];
  const { code, stderr } = await runRowmill(['migrate'], { env: { DATABASE_URL: db.url } });
  assert.equal(code, 2);
  for (const name of ['table jobs', 'table queues', 'table workers', 'table listeners', 'function announce'])
    assert.match(stderr, new RegExp(`^  ${name} is there already`, 'm'));
  assert.match(stderr, /nothing was changed[\s\S]*ROWMILL_SCHEMA=rowmill/);
  assert.deepEqual([await schemas(), await contents('public')], found);
});

suite('beside them', () => {
  let running: App[];
  const rowmills: Record<string, Awaited<ReturnType<typeof startRowmill>>> = {};
  const notices: string[] = [];
  let untouched: unknown[];
  const all = () => Promise.all(['public', ...Object.values(apps)].map(contents));
  const addTask = (schema: string, payload: object) =>
    db.query(`select ${schema}.add_job('media', $1::json)`, [JSON.stringify(payload)]);

  after(async () => {
    for (const { service, db: pool } of Object.values(rowmills)) await Promise.allSettled([service.stop(), pool.end()]);
    for (const { child } of running) child.kill('SIGKILL');
  });

  test('three applications on graphile-worker work, and go on while two Rowmills are made and started', async () => {
    // One after the other, before any of them works: a breaking migration of one ends the workers of all others that
    // listen.
    for (const [name, schema] of Object.entries(apps)) {
      const { runMigrations } = await graphileWorkers[name]!();
      await runMigrations({ connectionString: theirUrl, schema });
    }
    running = Object.entries(apps).map(([name, schema]) => startApp(name, schema));
    for (const app of running) {
      await says(app, /^ready$/);
      await addTask(app.schema, { hold: true });
      await says(app, /^holds media/);
      // Of a worker of theirs that died: its jobs are not ours to unlock, however long ago.
      await db.query(`select ${app.schema}.add_job('nobody'); `);
    }
    await db.query(
      `update app_16._private_jobs set locked_by = 'theirs', locked_at = now() - interval '1 hour'
        where task_id = (select id from app_16._private_tasks where identifier = 'nobody')`,
    );
    untouched = await all();
    const ear = createClient(db.url);
    await ear.connect();
    ear.on('notification', ({ channel }) => notices.push(channel));
    await ear.query('listen "jobs:insert"; listen "worker:migrate"');
    try {
      for (const schema of ['acme', 'other']) rowmills[schema] = await startRowmill(schema);
      await ear.query('select 1');
      // The first migrations of graphile-worker itself wake every worker of the database, once.
      assert.deepEqual(new Set(notices), new Set(['jobs:insert']));
      notices.length = 0;
      for (const { db: pool } of Object.values(rowmills))
        await reads(pool, await add(pool, 'cleanup', 'finished_jobs'), { status: 'completed' });
      await ear.query('select 1');
      assert.deepEqual(notices, []);
    } finally {
      await ear.end();
    }
    assert.deepEqual(await schemas(), [
      'acme',
      'acme_tickets',
      'app_16',
      'app_18',
      'graphile_worker',
      'other',
      'other_tickets',
      'public',
    ]);
    for (const app of running) {
      app.child.kill('SIGUSR2');
      await says(app, /^did media {"hold":true}/);
      await addTask(app.schema, { n: app.schema });
      await says(app, new RegExp(`^did media {"n":"${app.schema}"}`));
    }
    assert.deepEqual(await all(), untouched);
  });

  test('each does its own: jobs, pauses, files, cleanups', async () => {
    const { acme, other } = rowmills as Record<'acme' | 'other', Awaited<ReturnType<typeof startRowmill>>>;
    await other.db.query(`update queues set paused = true where name = 'media'`);
    const missing = await add(acme.db, 'media', 'image', { payload: { s3Key: 'a.jpg' }, max_retries: 0 });
    await reads(acme.db, missing, { status: 'failed', error_code: 'object_not_found' });
    const file = await acme.db.query<{ id: string }>(`insert into media (source_key) values ('b') returning id`);
    const job = await add(acme.db, 'media', 'image', { file_id: file.rows[0]!.id, max_retries: 0 });
    await reads(acme.db, job, { status: 'failed' });
    assert.deepEqual((await acme.db.query('select status from acme.media')).rows, [{ status: 'FAILED' }]);
    assert.deepEqual((await db.query('select status from public.media')).rows, [{ status: 'theirs' }]);
    for (const { db: pool } of [acme, other]) {
      const { rows } = await pool.query(
        'select array_agg(distinct queues) as queues, count(*) as workers from workers',
      );
      assert.equal(rows[0].workers, 1);
    }
  });

  test('a client is of the schema that it is given, and hears nothing of the other', async () => {
    const [mine, yours] = [
      createRowmillClient(owner, { schema: 'acme' }),
      createRowmillClient(owner, { schema: 'other' }),
    ];
    try {
      const heard: number[] = [];
      await yours.on('completed', ({ id }) => heard.push(id));
      const { id } = await mine.add(finishedJobs, {});
      assert.equal((await mine.wait(id)).status, 'completed');
      const second = await yours.add(finishedJobs, {});
      await yours.wait(second.id);
      await eventually(() => assert.deepEqual(heard, [second.id]));
    } finally {
      await Promise.all([mine.close(), yours.close()]);
    }
  });

  test('a client adds in a transaction, and on a pool, of an application with another search_path', async () => {
    const pool = createPool(owner, { max: 1, log: silent });
    const client = createRowmillClient(owner, { schema: 'acme', pool });
    try {
      const { id, path } = await transaction(pool, async (tx) => {
        const added = await client.add(finishedJobs, {}, {}, { tx });
        return { id: added.id, path: (await tx.query('show search_path')).rows[0].search_path };
      });
      assert.equal(path, '"$user", public');
      assert.equal((await client.wait(id)).status, 'completed');
      const added = await client.add(finishedJobs, {});
      assert.equal((await client.wait(added.id)).status, 'completed');
      assert.equal((await client.show(added.id))?.status, 'completed');
    } finally {
      await client.close();
      await pool.end();
    }
  });

  test('pictures are made there, by a role that owns nothing else', async () => {
    const { acme } = rowmills as Record<'acme', Awaited<ReturnType<typeof startRowmill>>>;
    const { createStorage } = await import('../../../worker/base/storage/create.ts');
    const storage = createStorage(loadConfig({ DATA_DIR: join(dir, 'acme') }).storage);
    const photo = await sharp({ create: { width: 40, height: 30, channels: 3, background: 'red' } })
      .jpeg()
      .toBuffer();
    await storage.put('uploads/a.jpg', photo, { contentType: 'image/jpeg' });
    await reads(
      acme.db,
      await add(acme.db, 'media', 'image', { payload: { s3Key: 'uploads/a.jpg' } }),
      { status: 'completed' },
      30_000,
    );
  });

  test('the command line works in the schema that it is told', async () => {
    const env = { DATABASE_URL: owner, ROWMILL_SCHEMA: 'acme', DATA_DIR: join(dir, 'acme') };
    assert.equal((await runRowmill(['migrate'], { env })).stdout, 'up to date\n');
    const added = await runRowmill(['add', 'cleanup.finished_jobs', '--wait', '--json'], { env });
    assert.equal(added.code, 0, added.stderr);
    const doctor = await runRowmill(['doctor', '--json'], { env });
    assert.match(doctor.stdout, /owns the tables/);
    const elsewhere = await runRowmill(['doctor', '--json'], { env: { ...env, ROWMILL_SCHEMA: 'nowhere' } });
    assert.match(elsewhere.stdout, /may make schema nowhere/);
    const untold = await runRowmill(['status'], { env: { ...env, ROWMILL_SCHEMA: 'nowhere' } });
    assert.match(untold.stderr, /rowmill migrate/);
    assert.deepEqual(await install(withSchema(owner, 'acme')), []);
  });

  test('when the Rowmills have stopped, the applications work, and their tables are as they were', async () => {
    for (const { service } of Object.values(rowmills)) await service.stop();
    for (const app of running) {
      await addTask(app.schema, { n: 'last' });
      await says(app, /^did media {"n":"last"}/);
      assert.equal(app.child.exitCode, null);
      // Each did its own three, and no more.
      assert.deepEqual(app.lines, [
        'ready',
        'holds media {"hold":true}',
        'did media {"hold":true}',
        `did media {"n":"${app.schema}"}`,
        'did media {"n":"last"}',
      ]);
    }
    assert.deepEqual(await all(), untouched);
    const { rows } = await db.query(`select locked_by from app_16._private_jobs where locked_by is not null`);
    assert.deepEqual(rows, [{ locked_by: 'theirs' }]);
    assert.deepEqual((await db.query('select title from public.jobs')).rows, [{ title: 'gardener' }]);
    for (const { child } of running) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });
});
