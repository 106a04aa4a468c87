import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { createApp } from '../../../worker/app.ts';
import { loadConfig } from '../../../worker/base/config/config.ts';
import { createClient, transaction, type Tx } from '../../../worker/base/db/db.ts';
import { createLog } from '../../../worker/base/log.ts';
import { bind, readStatements } from '../../../worker/base/db/sql.ts';
import { install } from '../../../worker/queue/install/install.ts';
import { job } from '../../../worker/queue/job.ts';
import { startWorker } from '../../../worker/queue/worker.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { rolledBack, runFile, sqlFiles } from '../../support/sql-files.ts';
import { statementOf } from '../../support/statement.ts';

// On Postgres 14 every role may make functions and operators in public. Postgres takes the one whose types fit a call
// best, wherever in the search_path it stands: a role that may only add jobs must not get one of its own called by the
// owner.

const thief = `thief_${randomUUID().slice(0, 8)}`;
const owner = `owner_${randomUUID().slice(0, 8)}`;
let server: TestDatabase;
let ownersUrl: string;
before(async () => {
  server = await createDatabase({ from: 'template0' });
  await server.query(`
    create role ${thief};
    create role ${owner};
    grant all on schema public to public;
    do $$ begin
      execute format('grant create on database %I to ${owner}', current_database());
      execute format('alter database %I set synchronous_commit to on', current_database());
    end $$`);
  const url = new URL(server.url);
  url.searchParams.set('options', `-c role=${owner}`);
  ownersUrl = url.href;
  await install(ownersUrl, ['messenger']);
  await rolledBack(server, async (tx) => assert.deepEqual(await asOwner(tx), {}, 'without decoys'));
  await transaction(server, plant);
});
after(async () => {
  // So many objects, each dropped by itself, take more locks than Postgres has.
  await server.drop();
  const admin = createClient(databaseUrl());
  await admin.connect();
  await admin.query(`drop role ${thief}, ${owner}`);
  await admin.end();
});

const types =
  'text bigint integer smallint boolean jsonb json timestamptz interval uuid float8 numeric xid8 oid name regclass ' +
  'text[] bigint[] smallint[] timestamptz[]';

const ours = sqlFiles('migrations', 'worker', 'sql/cleanup').map(({ text }) => text);

const graphile = join(dirname(fileURLToPath(import.meta.resolve('graphile-worker'))), '..');
/** The SQL of graphile-worker: its migrations, and its code, which has more words than SQL's. */
const theirs = ['sql', 'dist/sql', 'dist'].flatMap((folder) =>
  readdirSync(join(graphile, folder))
    .filter((name) => /\.(sql|js)$/.test(name))
    .map((name) => readFileSync(join(graphile, folder, name), 'utf8')),
);

/** Plants decoys for every function and operator that SQL names: once for all tests, since that takes seconds. */
async function plant(tx: Tx): Promise<void> {
  const sources = [...ours, ...theirs].map((text) => text.replaceAll(/--[^\n]*/g, ''));
  const names = sources.flatMap((text) => [
    ...(text.match(/\b[a-z_]\w*(?=\s*\()/g) ?? []),
    ...[...text.matchAll(/\b([a-z]+) => /g)].map(([, name]) => name!),
    ...(text.replaceAll(/'(?:[^']|'')*'/g, '').match(/[-+*/<>=~!@#%^&|?]+/g) ?? []),
  ]);
  await tx.query(`set local role ${thief}`);
  await tx.query(`select set_config('decoys.types', $1, true), set_config('decoys.names', $2, true)`, [
    `{${types.replaceAll(' ', ',')}}`,
    `{${[...new Set(names)].map((name) => JSON.stringify(name)).join(',')}}`,
  ]);
  await tx.query(statementOf('test/support/decoys.sql', 'plant').text);
  await tx.query(`reset role; set local search_path to public`);
}

const file = `'00000000-0000-4000-8000-00000000000a'`;

/** What calls each of our functions, on each of its ways. */
const uses = `
  insert into listeners values (gen_random_uuid(), clock_timestamp() + interval '1 minute');
  insert into auction_files (id, source_key, published_at) values (${file}, 'a.jpg', now());
  insert into media (id, source_key) values (${file}, 'a.mp4');
  insert into messages (id) values (${file});
  insert into jobs (queue, kind, payload, dedupe_key)
    values ('media', 'image', '{"s3Key": "a"}', 'k'), ('notification', 'push', '{}', null);
  insert into jobs (queue, kind, dedupe_key) values ('media', 'image', 'k');
  insert into media_jobs (kind, payload) values ('image', '{"mediaId": "00000000-0000-4000-8000-00000000000a"}');
  insert into media_jobs (kind, dedupe_key, status, archived) values ('image', 'old', 'completed', true);
  insert into publish_jobs (file_id, run_at) values (${file}, now() + interval '1 hour'), (${file}, now());
  insert into jobs (queue, kind, status, result, payload)
    values ('media', 'image', 'completed', '[1]', pg_catalog.jsonb_build_object('a', repeat('x', 200)));
  update jobs set run_at = now();
  update jobs set status = 'processing', started_at = now(), attempt = 1 where not archived;
  update jobs set status = 'completed', result = '{"key": "o", "bytes": 1}',
    payload = '{"messageId": "00000000-0000-4000-8000-00000000000a", "s3Key": "a"}' where queue = 'media';
  update jobs set status = 'failed', retry_count = max_retries where queue = 'publish';
  update jobs set max_retries = 10 where status = 'failed';
  update jobs set status = 'pending' where queue = 'media' and not archived;
  update jobs set status = 'cancelled' where queue = 'publish';
  update publish_jobs set file_id = null;
  update queues set paused = not paused, rate_limit = 5;
  update schedules set cron = '@daily' where name = 'cleanup.stories';
  select run_schedule('cleanup.stories');
  select take_tokens('k', 1, 1) from generate_series(1, 5);
  select worker_is_alive(gen_random_uuid()), oldest_transaction(), retry_delay(5000, 2), json_bytes('{}', 1000);
  select on_media_processed('image', '{"messageId": "00000000-0000-4000-8000-00000000000a"}',
    '{"url": "u", "thumbnail_url": "t", "waveform": [1], "metadata": {}}');
  insert into storage_deletions (key, reason)
    values ('k', 'r'), ('o', 'r'), ('00000000-0000-4000-8000-00000000000a/x', 'r');
  insert into media_objects (key) values ('k');
  update auction_files set deleted_at = now(), purged_at = now();
  update auction_files set deleted_at = null;
  insert into users (id) values (${file});
  insert into devices (id, user_id) values (${file}, ${file});
  insert into prekeys (device_id, prekey_id, public_key)
    values (${file}, 1, '\\x05' || decode(repeat('00', 32), 'hex'));
  select collect_prekeys(${file}), media_objects_of('{"s3Key": "a"}', '{"key": "o", "bytes": 1}');
  select create_queue('thumbs', batch_size => 10, max_retries => 3, backoff_ms => 5000);
  insert into thumbs_jobs (kind) values ('x');
  insert into media (id, source_key) values (gen_random_uuid(), 'b.mp4');
  update media set id = gen_random_uuid() where source_key = 'b.mp4';
  delete from media;
  delete from jobs where status = 'cancelled';
  truncate publish_jobs;
  truncate media_jobs;
  truncate jobs;
  select close_objects()`;

/** Each of these fails, and has to say why. */
const refusals: [statement: string, message: RegExp][] = [
  [`insert into jobs (queue, kind) values ('nothing', 'x')`, /there is no queue "nothing"/],
  [`insert into jobs (queue, kind) values ('media', 'media.image')`, /has a dot in it/],
  [`insert into jobs (queue, kind) values ('media', 'publish.image')`, /has a dot in it/],
  [
    `insert into media_jobs (kind, payload) select 'x', pg_catalog.jsonb_build_object('a', repeat('x', 1000001))`,
    /1000000 is the most/,
  ],
  [`insert into media_jobs (kind) values ('x'); update media_jobs set id = id + 1`, /cannot be changed/],
  [
    `insert into media_jobs (kind, status, archived) values ('x', 'completed', true); update media_jobs
     set status = 'pending'`,
    /is archived/,
  ],
  [`select take_tokens('k', 1, 0)`, /cannot be had/],
];

const asOwner = async (tx: Tx) => {
  await tx.query(`set local role ${owner}`);
  const came: Record<string, string> = {};
  const attempt = async (statement: string, expected = /^done$/) => {
    await tx.query('savepoint before');
    const said = await tx.query(statement).then(
      () => 'done',
      (error: Error & { where?: string }) => `${error.message} ${error.where ?? ''}`,
    );
    if (said !== 'done') await tx.query('rollback to before');
    if (!expected.test(said)) came[statement.trim()] = said;
  };
  for (const statement of uses.split(';\n')) await attempt(statement);
  for (const [statement, message] of refusals) await attempt(statement, message);
  return came;
};

test('our functions call none of them', () =>
  rolledBack(server, async (tx) => {
    assert.deepEqual(await asOwner(tx), {});
    await tx.query(`reset role`);
    await runFile(tx, 'enqueue/app_role.sql', { 'create role shop login;': `set local role ${owner};`, shop: thief });
    await tx.query(`set local role ${thief}`);
    await tx.query(`insert into public.jobs (queue, kind, dedupe_key) values ('media', 'image', 'theirs')`);
  }));

const leaves = {
  schema: 'public',
  tickets: 'rowmill_tickets',
  live: 'media_jobs_live',
  leaf: 'media_jobs_live',
  done: 'media_jobs_done',
  jobs: 'media_jobs',
  table: 'webhook_endpoints',
  key: 'id',
  column: 'secret',
};

test("the worker's statements call none of them", () =>
  rolledBack(server, async (tx) => {
    await tx.query(`set local role ${owner}; set local plan_cache_mode = force_generic_plan`);
    const came: Record<string, string> = {};
    for (const { path } of sqlFiles('worker', 'sql/cleanup')) {
      const root = join(import.meta.dirname, '../../..');
      for (const statement of readStatements(join(root, dirname(path)), basename(path)).values()) {
        // Postgres prepares no VACUUM.
        if (statement.name === 'vacuum') continue;
        const nulls = statement.params.map(() => 'null').join(', ');
        await tx.query('savepoint before');
        // Postgres looks up the rights of the functions when it begins to execute, which EXPLAIN does.
        await tx
          .query(`prepare tried as ${bind(statement, leaves).text}`)
          .then(() => tx.query(`explain execute tried${nulls && `(${nulls})`}; deallocate tried`))
          .catch(async (error: Error) => {
            came[`${path}: ${statement.name}`] = error.message;
            await tx.query('rollback to before; deallocate all');
          });
      }
    }
    assert.deepEqual(came, {});
  }));

test('neither a worker nor graphile-worker calls one; triggers of the user find their tables', async () => {
  await transaction(server, async (tx) => {
    // A start is made in graphile-worker's sessions, which alone do not wait for the disk.
    await tx.query(`
      create table started (id bigint, synchronous_commit text default current_setting('synchronous_commit'));
      create function note() returns trigger language plpgsql
        as 'begin insert into started (id) values (new.id); return null; end';
      create trigger note after update on jobs for each row when (old.status = 'pending' and new.status = 'processing')
        execute function note();
      grant insert on started to ${owner}`);
  });
  const log = new PassThrough();
  const config = loadConfig({ DATABASE_URL: ownersUrl, QUEUES: 'media', NODE_ENV: 'test' });
  const app = createApp(config, ownersUrl, createLog({ logLevel: 'debug', secrets: [] }, log));
  const echo = job({ name: 'media.echo', payload: z.object({}), run: async () => 1 });
  const worker = await startWorker(app, ownersUrl, new Map([[echo.name, echo]]));
  try {
    for (let n = 0; n < 20; n++) await server.query(`insert into public.media_jobs (kind) values ('echo')`);
    await eventually(async () => {
      const { rows } = await server.query(`
        select count(*) filter (where status operator(pg_catalog.=) 'completed') as completed,
               (select count(*) from public.started where synchronous_commit operator(pg_catalog.=) 'off') as started,
                 (select count(*) from rowmill_tickets._private_jobs) as tickets
          from public.media_jobs`);
      assert.deepEqual(rows, [{ completed: 20, started: 20, tickets: 0 }]);
    });
  } finally {
    await worker.stop();
    await app.close();
  }
  const said = String(log.read() ?? '');
  assert.match(said, /attempt ended/);
  assert.doesNotMatch(said, /decoy|permission denied|"level":"(warn|error)"/);
});
