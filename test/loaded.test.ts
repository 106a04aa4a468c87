import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createDatabase } from './support/database.ts';
import { eventually } from './support/eventually.ts';
import { add, reads } from './support/jobs.ts';
import { loadedBy, readLoaded, recorded } from './support/loaded.ts';
import { spawnRowmill } from './support/processes.ts';
import { startS3Server } from './support/s3-server.ts';

// What a process loads before it has a use for it.

const pg = /^(pg|pg-.*|postgres-.*|xtend)$/;
/** What package.json depends on, but for what the engine itself is made of: its log, counters and spans, too. */
const engine = [
  'pg',
  'graphile-worker',
  'node-cron',
  'pino',
  'zod',
  'hono',
  '@hono/node-server',
  'commander',
  '@opentelemetry/api',
  'prom-client',
  'rotating-file-stream',
];
const { dependencies } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
};
const ofHandlers = Object.keys(dependencies).filter((name) => !engine.includes(name));

test('a client loads pg and files of ours, and no library of schemas or logs', async (t) => {
  const { packages, ours, output } = await loadedBy(`
    const before = performance.now();
    await import('./worker/queue/client/client.ts');
    const ms = Math.round(performance.now() - before);
    console.log(ms + ' ms, ' + Math.round(process.memoryUsage().rss / 1e6) + ' MB in all, from TypeScript');`);
  const others = packages.filter((name) => !pg.test(name));
  assert.deepEqual(others, []);
  t.diagnostic(`${output}, ${ours} files of ours`);
});

test('the functions of the messenger load nothing beside the client', async () => {
  for (const file of ['media', 'notification'])
    assert.deepEqual(await loadedBy(`import './worker/queue/client/${file}.ts';`), {
      packages: [],
      ours: 1,
      output: '',
    });
});

test('a producer that imports a kind loads its schema, and nothing that does the work', async (t) => {
  const { packages, ours } = await loadedBy(`import './worker/jobs/publish/file.ts';`);
  const others = packages.filter((name) => !pg.test(name));
  assert.deepEqual(others, ['zod']);
  t.diagnostic(`${ours} files of ours`);
  const all = await loadedBy(`
    import { loadRegistry } from './worker/queue/registry.ts';
    await loadRegistry();`);
  assert.deepEqual(all.packages, packages);
});

test('a process that serves cleanup alone loads neither sharp nor an SDK until it needs one', async (t) => {
  const [db, s3, dir] = await Promise.all([createDatabase(), startS3Server(), mkdtemp(join(tmpdir(), 'loaded-'))]);
  t.after(async () => {
    await Promise.all([db.drop(), s3.close(), rm(dir, { recursive: true })]);
  });
  await db.query(`update schedules set enabled = false`);
  // Incidents whose checks are due, the check of sharp first: it loads sharp.
  await db.query(
    `insert into incidents (dependency, code, message, kinds, checked_at)
     values ('sharp', 'sharp_missing', 'x', '{media.image}', now() - interval '2 hours'),
            ('temp_space', 'disk_full', 'x', '{cleanup.none}', now() - interval '1 hour')`,
  );
  const file = join(dir, 'modules');
  const env = { QUEUES: 'cleanup', DATA_DIR: dir, TEMP_DIR: dir, ...s3.env, ...recorded(file) };
  const child = await spawnRowmill(db.url, env);
  t.after(() => child.kill('SIGKILL'));
  const done = async (kind: string) =>
    reads(db, await add(db, 'cleanup', kind), { status: 'completed', archived: false });
  await done('finished_jobs');
  const checked = async () =>
    (await db.query(`select dependency from incidents where checked_at > now() - interval '1 hour'`)).rows;
  await eventually(async () => assert.notDeepEqual(await checked(), []));
  assert.deepEqual(await checked(), [{ dependency: 'temp_space' }]);
  const before = (await readLoaded(file)).packages;
  assert.ok(before.includes('graphile-worker'));
  const unused = before.filter((name) => ofHandlers.includes(name));
  assert.deepEqual(unused, []);

  await db.query(`insert into storage_deletions (key, reason) values ('a/b.webp', 'messages')`);
  await done('storage_deletions');
  const since = (await readLoaded(file)).packages.filter((name) => ofHandlers.includes(name) && !before.includes(name));
  assert.ok(since.includes('@aws-sdk/client-s3'));
  assert.ok(!since.includes('sharp'));
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
});

test('a sharp that does not load is a fault of the deployment', async () => {
  const { output } = await loadedBy(`
    import { registerHooks } from 'node:module';
    registerHooks({
      resolve(name, context, next) {
        if (name === 'sharp') throw new Error('Could not load the "sharp" module using the linux-x64 runtime');
        return next(name, context);
      },
    });
    const { default: kind } = await import('./worker/jobs/publish/file.ts');
    await kind.run({ job: {}, app: {} }).catch(({ name, dependency, code }) => console.log(name, dependency, code));`);
  assert.equal(output, 'DeploymentError sharp sharp_missing');
});
