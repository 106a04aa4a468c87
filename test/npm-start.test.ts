import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { onStop } from '../worker/base/signals.ts';
import { createDatabase, type TestDatabase } from './support/database.ts';
import { eventually } from './support/eventually.ts';
import { reads } from './support/jobs.ts';
import { picture } from './support/pictures.ts';
import { processes } from './support/process-table.ts';

// `npm start` as containers, supervisors and terminals end it: the worker gets the signal and finishes its jobs, and no
// process is left.

let db: TestDatabase;
let dir: string;
let raid: Server;
/** Requests for originals that RAID has not answered yet. */
const held: ServerResponse[] = [];
before(async () => {
  raid = createServer((_, response) => void held.push(response)).listen(0, '127.0.0.1');
  [db, dir] = await Promise.all([createDatabase(), mkdtemp(join(tmpdir(), 'npm-start-')), once(raid, 'listening')]);
});
after(async () => {
  raid.closeAllConnections();
  raid.close();
  await db.drop();
  await rm(dir, { recursive: true });
});

test('SIGTERM to npm alone, as from docker stop: the worker finishes its job and ends, and so does npm', async (t) => {
  const npm = await npmStart(t);
  const id = await publishing();
  npm.child.kill('SIGTERM');
  await npm.says(/"stopping/);
  held.pop()!.end(await picture());
  assert.deepEqual(await npm.ended, [0, null]);
  await reads(db, id, { status: 'completed', attempt: 1, retry_count: 0 });
  assert.deepEqual(await npm.left(), []);
});

test('a signal to all processes, which npm forwards too, ends nothing at once', async (t) => {
  const npm = await npmStart(t);
  const id = await publishing();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.kill(-npm.child.pid!, name);
  await npm.says(/"stopping/);
  process.kill(-npm.child.pid!, 'SIGINT');
  held.pop()!.end(await picture());
  await npm.says(/"stopped"/);
  await npm.ended;
  await reads(db, id, { status: 'completed', attempt: 1, retry_count: 0 });
  assert.deepEqual(await npm.left(), []);
});

test('below npx, whose shell dies of SIGTERM without forwarding it, the worker finishes its job', async (t) => {
  const npx = await npmStart(t, 'npx', 'rowmill', 'start');
  const id = await publishing();
  npx.child.kill('SIGTERM');
  await npx.ended;
  await npx.says(/"stopping/);
  held.pop()!.end(await picture());
  await eventually(async () => assert.deepEqual(await npx.left(), []));
  await reads(db, id, { status: 'completed', attempt: 1, retry_count: 0 });
});

test('who insists after a moment is heeded', async (t) => {
  const said: string[] = [];
  const release = onStop(['SIGHUP'], {
    first: (name) => said.push(name),
    again: () => said.push('again'),
    momentMs: 200,
  });
  t.after(release);
  process.emit('SIGHUP', 'SIGHUP');
  process.emit('SIGHUP', 'SIGHUP');
  await eventually(() => {
    process.emit('SIGHUP', 'SIGHUP');
    assert.deepEqual(said, ['SIGHUP', 'again']);
  });
});

/** In a process group of its own, working when this resolves. */
async function npmStart(t: TestContext, command = 'npm', ...args: string[]) {
  const { port } = raid.address() as AddressInfo;
  const child = spawn(command, args.length > 0 ? args : ['start'], {
    cwd: join(import.meta.dirname, '..'),
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      HOME: dir,
      npm_config_update_notifier: 'false',
      DATABASE_URL: db.url,
      DATA_DIR: dir,
      TEMP_DIR: dir,
      QUEUES: 'publish',
      PORT: '0',
      RAID_PUB_ENDPOINT: `http://127.0.0.1:${port}/pub`,
      RAID_PUBLISHER_SECRET: 'sesame',
    },
  });
  const left = async () => (await processes()).filter(({ group }) => group === child.pid);
  t.after(async () => (await left()).forEach(({ pid }) => process.kill(pid, 'SIGKILL')));
  let output = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  const npm = {
    child,
    ended: once(child, 'exit'),
    says: (words: RegExp) => eventually(() => assert.match(output, words), 30_000),
    left,
  };
  await npm.says(/"listening"/);
  return npm;
}

/** @returns the id of a job that is running: RAID holds back its original */
async function publishing(): Promise<number> {
  const { rows } = await db.query<{ id: number }>(
    `with file as (insert into auction_files (source_key) values ('front.jpg') returning id)
     insert into publish_jobs (file_id) select id from file returning id`,
  );
  await eventually(() => assert.equal(held.length, 1));
  return rows[0]!.id;
}
