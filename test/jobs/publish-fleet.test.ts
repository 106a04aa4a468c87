import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { reads } from '../support/jobs.ts';
import { picture } from '../support/pictures.ts';
import { spawnRowmill } from '../support/processes.ts';
import { startRaid, type FakeRaid } from '../support/raid.ts';

// Several `rowmill start` on one database, publishing into one folder.

const jobs = Number(process.env['FLEET_JOBS'] ?? 300);
let db: TestDatabase;
let raid: FakeRaid;
let dir: string;
let fleet: ChildProcess[];

const start = async (env: Record<string, string> = {}) => {
  const child = await spawnRowmill(db.url, {
    DATA_DIR: dir,
    QUEUES: 'publish',
    RAID_PUB_ENDPOINT: raid.endpoint,
    RAID_PUBLISHER_SECRET: raid.secret,
    CDN_BASE_URL: 'https://cdn.example.com',
    ...env,
  });
  fleet.push(child);
  return child;
};
const stored = async () =>
  (await readdir(join(dir, 'storage'), { recursive: true })).filter((name) => name.endsWith('.webp'));

beforeEach(async () => {
  [db, raid, dir] = await Promise.all([createDatabase(), startRaid(), mkdtemp(join(tmpdir(), 'rowmill-fleet-'))]);
  await chmod(dir, 0o755);
  fleet = [];
});
afterEach(async () => {
  for (const child of fleet) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
  await Promise.all([db.drop(), raid.close(), rm(dir, { recursive: true, force: true })]);
});

test('three workers publish every file once, though one is stopped half way', async () => {
  raid.files.set('small', await picture({ width: 64, height: 48, format: 'jpeg' }));
  const workers = await Promise.all([start(), start(), start()]);
  await db.query(
    `with files as (insert into auction_files (source_key) select 'small' from generate_series(1, $1) returning id)
     insert into publish_jobs (file_id) select id from files`,
    [jobs],
  );
  const count = async (status: string) =>
    (await db.query(`select count(*)::int as n from publish_jobs where status = $1`, [status])).rows[0].n as number;
  await eventually(async () => assert.ok((await count('completed')) > jobs / 2), 120_000);
  workers[1].kill('SIGTERM');
  const [code] = await once(workers[1], 'exit');
  assert.equal(code, 0);
  await eventually(async () => assert.equal(await count('completed'), jobs), 120_000);

  const { rows } = await db.query(`select attempt, retry_count, count(*)::int as n from publish_jobs group by 1, 2`);
  assert.deepEqual(rows, [{ attempt: 1, retry_count: 0, n: jobs }]);
  assert.equal((await db.query(`select from job_errors`)).rowCount, 0);
  assert.equal((await stored()).length, jobs * 2);
  assert.equal(raid.requests.length, jobs, 'no file was downloaded twice');
  await eventually(async () => assert.equal((await db.query(`select from rowmill_tickets.jobs`)).rowCount, 0));
});

test('a crash between upload and commit leaves no orphan: the re-run stores the same keys', async () => {
  raid.files.set('k', await picture({ width: 640, height: 480, format: 'jpeg' }));
  const doomed = await start();
  const { rows } = await db.query(
    `with f as (insert into auction_files (source_key) values ('k') returning id) insert into publish_jobs (file_id)
     select id from f returning id, file_id`,
  );
  const { id, file_id } = rows[0];
  const holder = await db.connect();
  await holder.query('begin');
  await eventually(async () =>
    assert.equal((await holder.query(`select publish_status from auction_files`)).rows[0].publish_status, 'processing'),
  );
  await holder.query('select from auction_files where id = $1 for update', [file_id]);
  await eventually(async () => assert.equal((await stored()).length, 2));
  const uploaded = await stored();
  doomed.kill('SIGKILL');
  await once(doomed, 'exit');
  await holder.query('rollback');
  holder.release();

  assert.equal((await db.query(`select display_url from auction_files`)).rows[0].display_url, null);
  await start();
  await reads(db, id, { status: 'completed', attempt: 2, retry_count: 1, error_code: 'worker_lost' }, 30_000);
  assert.deepEqual(await stored(), uploaded);
  const { rows: files } = await db.query(`select publish_status, display_url from auction_files`);
  assert.equal(files[0].publish_status, 'published');
  assert.ok(uploaded.some((name) => files[0].display_url.endsWith(name)));
});
