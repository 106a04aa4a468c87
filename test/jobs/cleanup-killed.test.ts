import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LocalStorage } from '../../worker/base/storage/local.ts';
import { install } from '../../worker/queue/install/install.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { add, rows } from '../support/jobs.ts';
import { fillMessenger, putAll } from '../support/messenger.ts';
import { spawnRowmill } from '../support/processes.ts';

// Workers are killed while they clean up (CLEANUP_KILLS times), while somebody writes: the end is the same as without,
// and the figures are exact. MESSAGES=1000000 CLEANUP_KILLS=10 is a large messenger, and takes some minutes.

const kills = Number(process.env['CLEANUP_KILLS'] ?? 3);
const messages = Number(process.env['MESSAGES'] ?? 6_000);
const sizes = {
  messages,
  stories: Math.max(3_000, messages / 10),
  sessions: Math.max(1_500, messages / 20),
  objects: Math.max(1_200, messages / 10),
};
/** So long a killed worker lives at most: a small part of the whole. */
const lifeMs = 150 * (sizes.stories / 6_000);
const patienceMs = 60_000 + messages;
const kinds = ['stories', 'messages', 'temp_files', 'sessions'];

let db: TestDatabase;
let dir: string;
let storage: LocalStorage;
before(async () => {
  [db, dir] = await Promise.all([createDatabase(), mkdtemp(join(tmpdir(), 'rowmill-killed-'))]);
  storage = new LocalStorage({ provider: 'local', dir: join(dir, 'storage') });
  await install(db.url, ['messenger']);
  await db.query(`update schedules set enabled = false; update queues set backoff_ms = 20 where name = 'cleanup'`);
  await putAll(storage, await fillMessenger(db.url, sizes));
});
after(async () => {
  await db.drop();
  await rm(dir, { recursive: true, force: true });
});

const one = async (text: string) => Object.values((await db.query<Record<string, unknown>>(text)).rows[0]!)[0];

/** Keeps inserting until it is stopped. @returns how many of each, and how long the slowest statement took */
function startWriter() {
  let [going, written, slowest_ms] = [true, 0, 0];
  const timed = async (text: string, values: unknown[]) => {
    const began = performance.now();
    await db.query(text, values);
    slowest_ms = Math.max(slowest_ms, performance.now() - began);
  };
  const ended = (async () => {
    const user = await one('select id from users limit 1');
    while (going) {
      const values = [user, `uploads/new-${written}`];
      await timed(
        `with m as (insert into messages (sender_id, media_type, media_url) values ($1, 'image', $2) returning id)
                      insert into media_objects (key, message_id) select $2, id from m`,
        values,
      );
      await timed(
        `with s as (update users set active_stories = active_stories + 1 where id = $1 returning id)
                      insert into stories (user_id) select id from s`,
        [user],
      );
      written++;
      // As many as a lively messenger has, and most of the CPU left to the workers.
      await sleep(10);
    }
    return { written, slowest_ms };
  })();
  return () => ((going = false), ended);
}

test(`a fleet whose workers are killed ${kills} times cleans up what is due, and nothing else`, async (t) => {
  // Fixed, since this takes a while.
  await db.query(`create table begun as select now() as at`);
  const due: Record<string, string> = {
    stories: `select count(*) from stories, begun where deleted_at is null and created_at < at - interval '24 hours'`,
    messages: `select count(*) from messages, begun where media_url is not null and not pinned and not legal_hold
               and created_at < at - interval '365 days'`,
    temp_files: `select count(*) from temp_files, begun where created_at < at - interval '24 hours'`,
    sessions: `select count(*) from sessions, begun where last_active_at < at - interval '30 days'`,
  };
  const expected = Object.fromEntries(
    await Promise.all(kinds.map(async (kind) => [kind, await one(due[kind]!)] as const)),
  );
  const living =
    Number(await one(`select count(*) from stories where deleted_at is null`)) - Number(expected['stories']);

  const stopWriting = startWriter();
  const jobs: number[] = [];
  for (const kind of kinds) jobs.push(await add(db, 'cleanup', kind, { payload: { chunk: 5 }, max_retries: 1000 }));
  const start = () =>
    spawnRowmill(db.url, {
      DATA_DIR: dir,
      QUEUES: 'cleanup',
      LOG_LEVEL: 'info',
      SWEEP_INTERVAL: '100',
      WORKER_POLL_INTERVAL: '100',
    });
  let killed = 0;
  for (; killed < kills; killed++) {
    const worker = await start();
    const scanned = await one('select coalesce(sum(scanned), 0) from cleanup_logs');
    await eventually(async () => {
      const finished = (await rows(db, jobs)).every(({ status }) => status === 'completed');
      assert.ok(finished || (await one('select coalesce(sum(scanned), 0) from cleanup_logs')) !== scanned);
    }, patienceMs);
    // Some chunks later, anywhere in one of them.
    await sleep(Math.random() * lifeMs);
    worker.kill('SIGKILL');
    await once(worker, 'exit');
  }
  assert.ok(
    (await rows(db, jobs)).some(({ status }) => status !== 'completed'),
    'it was killed on the way',
  );

  const last = await start();
  await eventually(async () => {
    for (const { status } of await rows(db, jobs)) assert.equal(status, 'completed');
  }, patienceMs);
  last.kill('SIGTERM');
  await once(last, 'exit');
  const { written, slowest_ms } = await stopWriting();
  t.diagnostic(`wrote ${written} times meanwhile, in ${slowest_ms.toFixed(0)} ms at most`);

  for (const kind of kinds) assert.equal(Number(await one(due[kind]!)), 0, kind);
  const { rows: logs } = await db.query(
    // Of the kinds alone: a run that ends while objects wait adds a job for these.
    `select kind, deleted, errors, remaining from cleanup_logs where kind <> 'storage_deletions' order by id`,
  );
  assert.deepEqual(
    logs,
    kinds.map((kind) => ({ kind, deleted: Number(expected[kind]), errors: 0, remaining: false })),
  );
  assert.equal(await one('select count(*) from storage_deletions'), 0);
  assert.equal(await one(`select count(*) from stories where deleted_at is null`), living + written);
  assert.equal(await one(`select sum(active_stories) from users`), living + written);
  assert.equal(await one(`select count(*) from messages where media_url like 'uploads/new-%'`), written);

  const referred = await db.query(
    `select key from media_objects where key not like 'uploads/new-%' union select key from temp_files order by 1`,
  );
  const stored = [];
  for await (const { key } of storage.list('')) stored.push(key);
  assert.deepEqual(stored.toSorted(), referred.rows.map(({ key }) => key as string).toSorted());
});
