import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { add, reads } from '../support/jobs.ts';
import { createMessenger, putAll, type Messenger } from '../support/messenger.ts';

// What would have a cleanup delete more than is due: payloads that were changed or misspelt, rows and objects that two
// have a hand in.

let messenger: Messenger;
before(async () => {
  messenger = await createMessenger();
  await messenger.sql(`insert into users (name) values ('Ada')`);
});
after(() => messenger.close());

/** A job that failed on the way, and what it had written down. */
async function halfWay(payload: object, log: { age: string; dry_run: boolean; scanned: number }): Promise<number> {
  const id = await add(messenger.rig.db, 'cleanup', 'stories', { status: 'failed', payload });
  await messenger.sql(
    `insert into cleanup_logs (job_id, kind, cutoff, dry_run, scanned)
     values ($1, 'stories', now() - $2::interval, $3, $4)`,
    [id, log.age, log.dry_run, log.scanned],
  );
  return id;
}

const age = (cutoff: string) => Math.round((Date.now() - Date.parse(cutoff)) / 3_600_000);

test('a job that is run again keeps its cutoff, or takes an older one from its payload, never a younger', async () => {
  const { sql, rig } = messenger;
  for (const [olderThan, hours] of [
    ['48 hours', 48],
    ['1 hour', 25],
  ] as const) {
    const id = await halfWay({}, { age: '25 hours', dry_run: false, scanned: 0 });
    await sql(`update jobs set payload = $2, status = 'pending' where id = $1`, [id, { olderThan }]);
    const { result } = await reads(rig.db, id, { status: 'completed' });
    assert.equal(age(result.cutoff), hours);
  }
});

test('a dry run that died on the way counts afresh', async () => {
  const { sql, rig } = messenger;
  const id = await halfWay({ dryRun: true }, { age: '25 hours', dry_run: true, scanned: 7 });
  await sql(`update jobs set status = 'pending' where id = $1`, [id]);
  const { result } = await reads(rig.db, id, { status: 'completed' });
  assert.equal(result.scanned, 0);
});

test('a payload key that no cleanup knows is refused: a misspelt dryRun would delete', async () => {
  const { sql, one, rig } = messenger;
  await sql(`insert into stories (user_id, created_at) select id, now() - interval '2 days' from users limit 1`);
  for (const [kind, payload] of Object.entries({
    stories: { dry_run: true },
    sessions: { olderthan: '90 days' },
    finished_jobs: { olderThan: '90 days' },
    orphaned_media: { prefix: 'temp/' },
  })) {
    const id = await add(rig.db, 'cleanup', kind, { payload });
    await reads(rig.db, id, { status: 'failed', attempt: 1, error_code: 'invalid_payload' });
  }
  assert.equal(await one(`select count(*) from stories where deleted_at is null`), 1);
});

test('an object that a story and a message share by one row stays for the message', async () => {
  const { sql, one, cleanUp, keys, storage } = messenger;
  await putAll(storage, ['stories/shared', 'uploads/shared']);
  const shared = (key: string, message: string, story: string) =>
    sql(
      `with u as (select id from users limit 1),
            m as (insert into messages (media_type, created_at) values ('image', now() - $2::interval) returning id),
            s as (insert into stories (user_id, created_at) select id, now() - $3::interval from u returning id)
       insert into media_objects (key, bytes, message_id, story_id) select $1, 10, m.id, s.id from m, s`,
      [key, message, story],
    );
  await shared('stories/shared', '1 day', '2 days');
  await shared('uploads/shared', '366 days', '1 hour');
  for (const kind of ['stories', 'messages']) {
    const { bytes: foretold } = await cleanUp(kind, { dryRun: true });
    const { bytes } = await cleanUp(kind);
    assert.deepEqual([bytes, foretold], [0, 0]);
  }
  assert.deepEqual(
    (await keys()).filter((key) => key.endsWith('/shared')),
    ['stories/shared', 'uploads/shared'],
  );
  assert.equal(
    await one(
      `select count(*) from media_objects where key like '%/shared' and num_nonnulls(message_id, story_id) = 1`,
    ),
    2,
  );
});

test('a temporary file that a media job is still to read stays in storage until then', async () => {
  const { sql, cleanUp, keys, storage } = messenger;
  const named = ['temp/by-key', 'temp/by-path', 'temp/by-name', 'temp/done'];
  await putAll(storage, named);
  await sql(`insert into temp_files (key, created_at) select unnest($1::text[]), now() - interval '2 days'`, [named]);
  await sql(
    `insert into media_jobs (kind, status, payload)
     values ('x', 'pending', '{"s3Key": "temp/by-key"}'), ('x', 'processing', '{"inputPath": "/temp/by-path"}'),
            ('x', 'pending', '{"key": "temp/by-name"}'), ('x', 'completed', '{"s3Key": "temp/done"}')`,
  );
  await cleanUp('temp_files');
  assert.deepEqual(
    (await keys('temp/')).filter((key) => named.includes(key)),
    named.slice(0, 3).toSorted(),
  );
});

for (const published of ['', 'with published_at'])
  test(`a file ${published} that is undeleted while its pictures go stays, and is published anew`, async () => {
    const { sql, one, cleanUp, keys, storage } = messenger;
    const id = await one(
      `insert into auction_files (source_key, deleted_at, purged_at, published_at)
     values ('original', now() - interval '31 days', now(), ${published ? `now() - interval '60 days'` : 'null'})
       returning id`,
    );
    // One of the two is gone already.
    const thumb = `${id}/thumb.webp`;
    await putAll(storage, [thumb]);
    await sql(
      `insert into storage_deletions (key, reason, due_at)
       values ($1, 'soft_deleted_files', now() + interval '1 hour')`,
      [thumb],
    );
    await sql(`update auction_files set deleted_at = null where id = $1`, [id]);
    assert.deepEqual(await sql(`select * from storage_deletions`), []);
    assert.deepEqual(await sql(`select status from publish_jobs where file_id = $1`, [id]), [{ status: 'pending' }]);
    await cleanUp('soft_deleted_files');
    await sql(`update auction_files set deleted_at = now() where id = $1`, [id]);
    await cleanUp('soft_deleted_files');
    assert.equal(await one(`select purged_at is null from auction_files where id = $1`, [id]), true);
    assert.ok((await keys()).includes(thumb));
  });
