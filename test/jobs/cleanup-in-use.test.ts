import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { LocalStorage } from '../../worker/base/storage/local.ts';
import { install } from '../../worker/queue/install/install.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { slow, unlessEverything } from '../support/everything.ts';
import { add, rows } from '../support/jobs.ts';
import { spawnRowmill } from '../support/processes.ts';
import { addProducts, plantReferences, type Planned } from '../support/references.ts';

// Nothing that is shown anywhere is deleted, and everything else is: by each kind twice at once, on two workers, which
// are killed at random. A plan says what has to stay (test/support/references.ts), and the files on the disk say what
// did.

const [share, kills] = unlessEverything ? [0.1, 3] : [1, 12];
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e6));
const kinds = ['messages', 'stories', 'temp_files', 'soft_deleted_files', 'storage_deletions'];

let db: TestDatabase;
let dir: string;
let storage: LocalStorage;
let planned: Planned[];
before(async () => {
  [db, dir] = await Promise.all([createDatabase(), mkdtemp(join(tmpdir(), 'rowmill-in-use-'))]);
  storage = new LocalStorage({ provider: 'local', dir: join(dir, 'storage') });
  await install(db.url, ['messenger']);
  await addProducts(db);
  await db.query(`update schedules set enabled = false; update queues set backoff_ms = 20 where name = 'cleanup'`);
  planned = await plantReferences(db, share, seed);
  const weekAgo = new Date(Date.now() - 8 * 86_400_000);
  for (const { key, bytes } of planned) {
    await storage.put(key, Buffer.alloc(bytes), { contentType: 'text/plain' });
    await utimes(join(dir, 'storage', key), weekAgo, weekAgo);
  }
});
after(async () => {
  await db.drop();
  await rm(dir, { recursive: true, force: true });
});

const start = () =>
  spawnRowmill(db.url, {
    DATA_DIR: dir,
    QUEUES: 'cleanup',
    LOG_LEVEL: 'info',
    SWEEP_INTERVAL: '100',
    WORKER_POLL_INTERVAL: '100',
  });

const settled = async (jobs: number[]) => {
  // The time until the next try, as if it had passed.
  await db.query(`update storage_deletions set due_at = clock_timestamp() where due_at < 'infinity'
                  and due_at > clock_timestamp();
                  update cleanup_jobs set run_at = now() where status = 'pending' and run_at > now()`);
  for (const { status, error } of await rows(db, jobs)) assert.equal(status, 'completed', error ?? '');
  const { rows: left } = await db.query(
    `select (select count(*) from storage_deletions) + (select count(*) from cleanup_jobs
     where status in ('pending', 'processing')) as left`,
  );
  assert.equal(left[0]!.left, 0);
};

slow(`what a row shows stays, all else goes, with two jobs of a kind at once, and kills (SEED=${seed})`, async (t) => {
  const workers = [await start(), await start()];
  const twice = async (kind: string, payload: object) => [
    await add(db, 'cleanup', kind, { payload, max_retries: 1000 }),
    await add(db, 'cleanup', kind, { payload, max_retries: 1000 }),
  ];
  const jobs: number[] = [];
  for (const kind of kinds) jobs.push(...(await twice(kind, kind === 'storage_deletions' ? {} : { chunk: 3 })));
  for (let killed = 0; killed < kills; killed++) {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 500));
    const worker = workers.shift()!;
    worker.kill('SIGKILL');
    await once(worker, 'exit');
    workers.push(await start());
  }
  await eventually(() => settled(jobs), 120_000);
  // What was kept for a row that went since.
  const kept = await twice('storage_deletions', {});
  await eventually(() => settled(kept), 60_000);

  const orphans = { dryRun: false, maxShare: 1, chunk: 7 };
  const first = await twice('orphaned_media', orphans);
  await eventually(() => settled(first), 60_000);
  await db.query(`update orphan_sightings set seen_at = seen_at - interval '1 day'`);
  const second = await twice('orphaned_media', orphans);
  await eventually(() => settled(second), 60_000);
  for (const worker of workers) {
    worker.kill('SIGTERM');
    await once(worker, 'exit');
  }

  const stored = new Set<string>();
  for await (const { key } of storage.list('')) stored.add(key);
  const wrong = planned
    .filter(({ key, stays }) => stored.has(key) !== stays)
    .map(({ key, places, stays }) => `${key} ${stays ? 'is gone' : 'is left'}: ${places.join('; ')}`);
  assert.deepEqual(wrong, []);
  const gone = planned.filter(({ stays }) => !stays);
  t.diagnostic(
    `${planned.length} objects with ${kills} kills: ${planned.length - gone.length} stayed, ${gone.length} went`,
  );

  const { rows: sums } = await db.query(
    `select sum(bytes)::bigint as bytes, sum(errors)::bigint as errors from cleanup_logs`,
  );
  const freed = gone.reduce((sum, { bytes }) => sum + bytes, 0);
  assert.deepEqual(sums, [{ bytes: freed, errors: 0 }]);
  const { rows: leftovers } = await db.query(
    `select key from media_objects o left join stories s on s.id = o.story_id where s.deleted_at is not null
      union all select key from temp_files where deleted_at is not null union all select key from storage_listing`,
  );
  assert.deepEqual(leftovers, []);
});
