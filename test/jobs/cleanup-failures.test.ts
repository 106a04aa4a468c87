import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { slow } from '../support/everything.ts';
import { reads } from '../support/jobs.ts';
import { createMessenger, putAll, type Messenger } from '../support/messenger.ts';
import { s3Failures, startS3Server, type S3Server } from '../support/s3-server.ts';

// Storage that fails in all its ways while temporary files are cleaned up: what can be deleted is, the rest is told of
// and tried again, and no row goes before its object.

let s3: S3Server;
let messenger: Messenger;
before(async () => {
  s3 = await startS3Server();
  messenger = await createMessenger(s3.env);
});
afterEach(() => s3.heal());
after(async () => {
  await messenger.close();
  await s3.close();
});

/** Old temporary files, and their objects. @returns the keys */
async function fill(name: string, count: number): Promise<string[]> {
  const keys = Array.from({ length: count }, (_, n) => `temp/${name}-${n}`);
  await putAll(messenger.storage, keys);
  await messenger.sql(
    `insert into temp_files (key, bytes, created_at) select unnest($1::text[]), 10, now() - interval '2 days'`,
    [keys],
  );
  return keys;
}

/** The time until the next try, as if it had passed. */
const hurry = () =>
  messenger.sql(`with d as (update storage_deletions set due_at = clock_timestamp() where due_at < 'infinity')
                 update cleanup_jobs set run_at = now() where status = 'pending'`);

const left = async () => ({
  objects: await messenger.keys('temp/'),
  rows: (await messenger.sql('select key from temp_files order by key')).map((row) => row['key'] as string),
  deletions: Number(await messenger.one('select count(*) from storage_deletions')),
});

const nothing = { objects: [], rows: [], deletions: 0 };

test('some keys cannot be deleted: the others are, with their rows; a job of its own tries those again', async () => {
  const keys = await fill('some', 40);
  const refused = [keys[3]!, keys[7]!];
  s3.refuseToDelete(refused);
  const { scanned, deleted, errors, remaining } = await messenger.cleanUp('temp_files', { chunk: 9 });
  assert.deepEqual({ scanned, deleted, errors, remaining }, { scanned: 40, deleted: 38, errors: 2, remaining: true });
  assert.deepEqual(await left(), { objects: refused, rows: refused, deletions: 2 });
  const [told] = await messenger.sql(`select attempts, error_code, due_at > now() as later from storage_deletions`);
  assert.deepEqual(told, { attempts: 1, error_code: 'storage_denied', later: true });
  assert.equal(
    await messenger.one(`select count(*) from cleanup_jobs where kind = 'storage_deletions' and status = 'pending'`),
    1,
  );

  s3.heal();
  await hurry();
  await eventually(async () => assert.equal((await left()).deletions, 0));
  assert.equal((await messenger.cleanUp('temp_files')).deleted, 2);
  assert.deepEqual(await left(), nothing);
  // What failed at first was freed once.
  await eventually(async () => assert.equal(Number(await messenger.one('select sum(bytes) from cleanup_logs')), 400));
});

slow('storage throttles: the same request is repeated and succeeds; if it lasts, nothing is lost', async () => {
  await fill('throttled once', 30);
  s3.fail({ ...s3Failures.slowDown, times: 1, when: ({ url }) => url.includes('delete') });
  assert.equal((await messenger.cleanUp('temp_files')).deleted, 30);

  await fill('throttled', 30);
  s3.fail({ ...s3Failures.slowDown, times: 6, when: ({ url }) => url.includes('delete') });
  const { deleted, errors, remaining } = await messenger.cleanUp('temp_files');
  assert.deepEqual({ deleted, errors, remaining }, { deleted: 0, errors: 30, remaining: true });
  assert.equal(await messenger.one(`select distinct error_code from storage_deletions`), 'storage_unavailable');
  await hurry();
  await eventually(async () => assert.equal((await left()).deletions, 0));
  assert.equal((await messenger.cleanUp('temp_files')).deleted, 30);
  assert.deepEqual(await left(), nothing);
});

test('storage is away: rows are marked, and none goes before its object; then the cleanup goes on', async () => {
  const keys = await fill('away', 20);
  await s3.stop();
  const { deleted, errors, remaining } = await messenger.cleanUp('temp_files');
  assert.deepEqual({ deleted, errors, remaining }, { deleted: 0, errors: 20, remaining: true });
  await s3.start();
  assert.deepEqual(await left(), { objects: keys.toSorted(), rows: keys.toSorted(), deletions: 20 });
  await hurry();
  await eventually(async () => assert.deepEqual(await messenger.keys('temp/'), []));
  assert.equal((await messenger.cleanUp('temp_files')).deleted, 20);
  assert.deepEqual(await left(), nothing);
});

test('a key that no storage can have is put aside for a person, and keeps the others from nothing', async () => {
  await messenger.sql(
    `insert into storage_deletions (key, reason) values ('bad//key', 'by_hand'), ('temp/none', 'by_hand')`,
  );
  const { scanned, deleted, errors, remaining } = await messenger.cleanUp('storage_deletions');
  assert.deepEqual({ scanned, deleted, errors, remaining }, { scanned: 2, deleted: 1, errors: 1, remaining: false });
  const rows = await messenger.sql(`select key, error_code, due_at = 'infinity' as aside from storage_deletions`);
  assert.deepEqual(rows, [{ key: 'bad//key', error_code: 'invalid_storage_key', aside: true }]);
  await messenger.sql('delete from storage_deletions');
});

test('a row whose key is empty keeps the others from nothing', async () => {
  await fill('beside', 3);
  await messenger.sql(`insert into temp_files (key, created_at) values ('', now() - interval '2 days')`);
  const { scanned, deleted, errors } = await messenger.cleanUp('temp_files');
  assert.deepEqual({ scanned, deleted, errors }, { scanned: 4, deleted: 3, errors: 1 });
  assert.deepEqual((await left()).objects, []);
  await messenger.sql('delete from storage_deletions; delete from temp_files');
});

test('a key that is used again is not deleted, whether its row was written before or after', async () => {
  const { sql, one, cleanUp, keys, storage } = messenger;
  await putAll(storage, ['temp/a', 'temp/b', 'temp/c']);
  await sql(`insert into temp_files (key) values ('temp/a')`);
  await sql(
    `insert into storage_deletions (key, reason)
     values ('temp/a', 'temp_files'), ('temp/b', 'temp_files'), ('temp/c', 'temp_files')`,
  );
  // keep_object calls off what waits.
  await sql(`insert into media_objects (key) values ('temp/b')`);
  assert.equal(await one(`select count(*) from storage_deletions where key = 'temp/b'`), 0);
  const foretold = await cleanUp('storage_deletions', { dryRun: true });
  const { scanned, deleted, skipped } = await cleanUp('storage_deletions');
  assert.deepEqual({ scanned, deleted, skipped }, { scanned: 2, deleted: 1, skipped: 1 });
  assert.deepEqual([foretold.scanned, foretold.deleted, foretold.skipped], [2, 1, 1]);
  assert.deepEqual(await keys('temp/'), ['temp/a', 'temp/b']);
});

test('a temporary file that became the original of a row of media stays in storage', async () => {
  const { sql, cleanUp, keys, storage } = messenger;
  await putAll(storage, ['temp/original', 'temp/rubbish', 'temp/forgotten']);
  await sql(
    `insert into temp_files (key, created_at)
     select unnest(array['temp/original', 'temp/rubbish', 'temp/forgotten']), now() - interval '2 days'`,
  );
  await sql(`insert into media (source_key, deleted_at) values ('temp/original', null), ('temp/forgotten', now())`);
  await cleanUp('temp_files');
  const stored = await keys('temp/');
  assert.ok(stored.includes('temp/original'), 'the original');
  assert.ok(!stored.includes('temp/rubbish') && !stored.includes('temp/forgotten'), 'the others');
  assert.deepEqual(await sql('select key from temp_files where deleted_at is not null'), []);
});

test('whoever uses a key while its object is being deleted waits until it is gone, and can then upload', async () => {
  const { sql, storage, keys } = messenger;
  await putAll(storage, ['temp/d']);
  await sql(`insert into storage_deletions (key, reason) values ('temp/d', 'temp_files')`);
  const order: string[] = [];
  let asked: Promise<unknown> | undefined;
  s3.fail({
    ...s3Failures.slowDown,
    when({ url }) {
      if (url.includes('delete') && !asked) {
        asked = sql(`insert into media_objects (key) values ('temp/d')`).then(() => order.push('used again'));
        order.push('deleting');
      }
      return false;
    },
  });
  await messenger.cleanUp('storage_deletions');
  await asked;
  assert.deepEqual(order, ['deleting', 'used again']);
  assert.deepEqual((await keys('temp/')).includes('temp/d'), false);
});

test('a run that its budget cuts off says so and goes on in a job of its own, until all is done', async () => {
  const { sql, one, rig } = messenger;
  await sql(`insert into users (id) values ('00000000-0000-4000-8000-000000000001')`);
  await sql(
    `insert into stories (user_id, created_at) select '00000000-0000-4000-8000-000000000001', now() - interval '2 days'
     from generate_series(1, 3000)`,
  );
  // Each chunk takes a tenth of a second.
  await sql(
    `create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.1); return null; end $$`,
  );
  await sql(`create trigger slow after update on stories for each statement execute function slow()`);
  await sql(`update schedules set payload = '{"seconds": 1, "chunk": 100}' where name = 'cleanup.stories'`);
  const run = () => one(`select run_schedule('cleanup.stories')`) as Promise<number>;
  const id = await run();
  const { result: first } = await reads(rig.db, id, { status: 'completed' }, 30_000);
  assert.ok(first.remaining && first.deleted > 0 && first.deleted < 3000, JSON.stringify(first));
  // To the schedule, whose overlap is skip, that is still its job.
  await assert.rejects(run(), /has not ended/);
  await eventually(
    async () => assert.equal(await one('select count(*) from stories where deleted_at is null'), 0),
    30_000,
  );
  await eventually(async () =>
    assert.equal(await one(`select count(*) from cleanup_jobs where status in ('pending', 'processing')`), 0),
  );
  const logs = await sql(`select deleted, remaining from cleanup_logs where kind = 'stories' order by id`);
  assert.equal(
    logs.reduce((sum, log) => sum + log['deleted'], 0),
    3000,
  );
  assert.deepEqual([logs.at(-1)!['remaining'], logs.length > 1], [false, true]);
  const [status] = await sql(`select * from schedule_status where name = 'cleanup.stories'`);
  assert.ok(status!['last_job_id'] > id);
  assert.deepEqual([status!['last_status'], status!['last_result'].remaining], ['completed', false]);
  await rig.db.query('drop trigger slow on stories');
});

test('a row that somebody holds locked is left for another time, and said to remain', async () => {
  const { sql, cleanUp, rig } = messenger;
  await sql(
    `insert into stories (user_id, created_at) select id, now() - interval '2 days' from users, generate_series(1, 10)`,
  );
  const tx = await rig.db.connect();
  await tx.query('begin; select from stories where deleted_at is null order by id limit 1 for update');
  const { deleted, remaining } = await cleanUp('stories');
  assert.deepEqual({ deleted, remaining }, { deleted: 9, remaining: true });
  await tx.query('rollback');
  tx.release();
  assert.deepEqual((await cleanUp('stories')).deleted, 1);
});

const expired: Record<string, string> = {
  stories: `with u as (insert into users default values returning id)
            insert into stories (user_id, created_at) select id, now() - interval '2 days' from u returning id`,
  messages: `insert into messages (media_type, created_at) values ('image', now() - interval '400 days') returning id`,
};
for (const [kind, insert] of Object.entries(expired))
  test(`an object of expired ${kind} that is the original of a row of media or of a pending job stays`, async () => {
    const { sql, one, cleanUp, keys, storage } = messenger;
    const objects = ['original', 'rubbish', 'forgotten', 'waiting'].map((name) => `uploads/${kind}/${name}`);
    await putAll(storage, objects);
    const owner = kind === 'stories' ? 'story_id' : 'message_id';
    await sql(`insert into media_objects (key, ${owner}) select unnest($1::text[]), $2`, [objects, await one(insert)]);
    const [original, , forgotten, waiting] = objects;
    await sql(`insert into media_jobs (kind, payload) values ('x', $1)`, [{ s3Key: waiting }]);
    await sql(`insert into media (source_key, deleted_at) values ($1, null), ($2, now())`, [original, forgotten]);
    await cleanUp(kind);
    assert.deepEqual(await keys(`uploads/${kind}/`), [original, waiting]);
  });
