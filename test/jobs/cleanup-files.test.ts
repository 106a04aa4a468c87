import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { install } from '../../worker/queue/install/install.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { runRowmill } from '../support/cli.ts';
import { createDatabase } from '../support/database.ts';
import { add, reads } from '../support/jobs.ts';
import { createMessenger, putAll, type Messenger } from '../support/messenger.ts';
import { createRig } from '../support/worker.ts';

// Cleanups that need no messenger, and what is said where there is none.

let messenger: Messenger;
before(async () => {
  messenger = await createMessenger();
});
after(() => messenger.close());

test('soft-deleted files: after 30 days all pictures go, then the row; an undeleted file keeps its own', async () => {
  const { sql, one, cleanUp, keys, storage } = messenger;
  const file = async (age: string) =>
    one(
      `with f as (select gen_random_uuid() as id)
       insert into auction_files (id, deleted_at, display_url, display_bytes, thumb_url, thumb_bytes)
       select id, now() - $1::interval, 'https://cdn.example.com/a%20b/' || id || '/new-display.webp', 10,
              'https://cdn.example.com/a%20b/' || id || '/new-thumb.webp', 10 from f returning id`,
      [age],
    );
  const [due, young, back] = [await file('31 days'), await file('29 days'), await file('31 days')];
  await sql(
    `insert into publish_jobs (file_id, status, archived, result)
     values ($1::text::uuid, 'completed', true,
       jsonb_build_object('display', jsonb_build_object('key', $1::text || '/old-display.webp')))`,
    [due],
  );
  const of = (id: string) => ['new-display.webp', 'new-thumb.webp'].map((name) => `${id}/${name}`);
  await putAll(storage, [...of(due), `${due}/old-display.webp`, ...of(young), ...of(back)]);
  await sql(`update auction_files set deleted_at = null where id = $1`, [back]);
  await sql(`insert into storage_deletions (key, reason) select $1::text || '/new-thumb.webp', 'soft_deleted_files'`, [
    back,
  ]);

  const foretold = await cleanUp('soft_deleted_files', { dryRun: true });
  const done = await cleanUp('soft_deleted_files', { type: 'soft_deleted_files' });
  const { scanned, deleted, bytes, errors, remaining } = done;
  assert.deepEqual(
    { scanned, deleted, bytes, errors, remaining },
    { scanned: 1, deleted: 1, bytes: 20, errors: 0, remaining: false },
  );
  assert.deepEqual({ ...done, cutoff: '', dryRun: true, remaining: true }, { ...foretold, cutoff: '' });
  assert.deepEqual(await keys(), [...of(young), ...of(back)].toSorted());
  assert.deepEqual(
    (await sql('select id from auction_files order by 1')).map((row) => String(row.id)),
    [young, back].map(String).toSorted(),
  );
  assert.equal(await one('select count(*) from storage_deletions'), 0);
});

test('finished jobs: those that were kept long enough go, of queues that nobody serves too', async () => {
  const { sql, one, cleanUp } = messenger;
  await sql(
    `insert into jobs (queue, kind, status, archived, completed_at)
     select 'social', 'x', 'completed', true, now() - n * interval '1 day' from unnest(array[1, 89, 91, 200]) n`,
  );
  const counts = async (payload: object) => {
    const { scanned, deleted, remaining } = await cleanUp('finished_jobs', { ...payload });
    return { scanned, deleted, remaining };
  };
  assert.deepEqual(await counts({ dryRun: true }), { scanned: 2, deleted: 2, remaining: false });
  assert.equal(await one(`select count(*) from social_jobs`), 4);
  assert.deepEqual(await counts({}), { scanned: 2, deleted: 2, remaining: false });
  assert.equal(await one(`select count(*) from social_jobs`), 2);
});

test('cleanup_logs go with the archive of cleanup jobs, but for those that a failed job would go on with', async () => {
  const { sql, cleanUp, rig } = messenger;
  const log = (job_id: number, days: number, finished = true) =>
    sql(
      `insert into cleanup_logs (job_id, kind, cutoff, dry_run, started_at, finished_at)
       select $1, 'stories', t, false, t, case when $3 then t end from (select now() - $2 * interval '1 day') t (t)`,
      [job_id, days, finished],
    );
  const failed = await add(rig.db, 'cleanup', 'x', { status: 'failed' });
  await log(-1, 89);
  await log(-2, 91);
  await log(-3, 91, false);
  await log(failed, 91, false);
  const foretold = await cleanUp('finished_jobs', { dryRun: true });
  const kept = () =>
    sql(`select job_id from cleanup_logs where job_id < 0 or job_id = $1 order by job_id desc`, [failed]);
  assert.deepEqual([foretold.scanned, foretold.deleted, (await kept()).length], [2, 2, 4]);
  const { scanned, deleted, remaining } = await cleanUp('finished_jobs');
  assert.deepEqual({ scanned, deleted, remaining }, { scanned: 2, deleted: 2, remaining: false });
  assert.deepEqual(await kept(), [{ job_id: failed }, { job_id: -1 }]);

  await sql(`update queues set keep_completed = '88 days' where name = 'cleanup'`);
  assert.equal((await cleanUp('finished_jobs')).deleted, 1);
  assert.deepEqual(await kept(), [{ job_id: failed }]);
});

test('a dry run by command changes nothing and prints what would be done; other kinds have none', async () => {
  const { sql, one, rig } = messenger;
  await sql(`insert into temp_files (key, created_at) values ('temp/old', now() - interval '2 days')`);
  const env = { DATABASE_URL: rig.db.url };
  const dry = await runRowmill(['add', 'cleanup.temp_files', '--dry-run', '--wait', '--json'], { env });
  assert.equal(dry.code, 0, dry.stderr);
  const { result, payload } = (JSON.parse(dry.stdout) as { job: { result: Record<string, unknown>; payload: unknown } })
    .job;
  assert.deepEqual([result['dryRun'], result['deleted'], payload], [true, 1, { dryRun: true }]);
  assert.equal(await one(`select count(*) from temp_files where deleted_at is null`), 1);

  const none = await runRowmill(['add', 'publish.file', '--dry-run'], { env });
  assert.deepEqual([none.code, none.stderr], [2, 'error: publish.file has no dry run\n']);
  assert.equal(await one(`select count(*) from publish_jobs where status = 'pending'`), 0);
});

test('where the tables are missing, the job fails at once and says which, and what to do', async () => {
  const rig = await createRig();
  try {
    await rig.worker(await loadRegistry(), { QUEUES: 'cleanup' });
    for (const kind of ['stories', 'sessions', 'messages', 'temp_files']) {
      const id = await add(rig.db, 'cleanup', kind, { payload: { type: kind } });
      const row = await reads(rig.db, id, { status: 'failed', error_code: 'cleanup_tables_missing', attempt: 1 });
      assert.match(row['error'], new RegExp(`"${kind}" does not exist.*--with messenger.*sql/cleanup/`));
    }
  } finally {
    await rig.close();
  }
});

test('the messenger is made only when asked for, and then kept up to date', async () => {
  const db = await createDatabase();
  try {
    const { rows } = await db.query(`select to_regclass('stories') as stories`);
    assert.deepEqual(rows, [{ stories: null }]);
    const env = { DATABASE_URL: db.url };
    const wrong = await runRowmill(['migrate', '--with', 'messanger'], { env });
    assert.deepEqual(
      [wrong.code, wrong.stderr],
      [2, 'error: There is no set of tables named messanger: there are messenger\n'],
    );
    const made = await runRowmill(['migrate', '--with', 'messenger'], { env });
    assert.equal(made.stdout, 'applied messenger/0001_messenger.sql\n');
    assert.deepEqual(await install(db.url), []);
    await db.query(
      `delete from rowmill_migrations where name like 'messenger/%'; insert into rowmill_migrations (name, checksum)
       values ('messenger/0000_earlier.sql', '')`,
    );
    await assert.rejects(install(db.url), /so nothing was changed:[\s\S]* table users /);
  } finally {
    await db.drop();
  }
});

test('an output of a media job is in use by its message from the moment the job completes', async () => {
  const { sql, one } = messenger;
  const message = await one(`insert into messages (media_type) values ('image') returning id`);
  const result = {
    url: 'https://cdn.example.com/p/photo.webp',
    key: 'processed/p/photo.webp',
    bytes: 5,
    thumbnails: [
      { key: 'processed/p/thumb.webp', bytes: 2 },
      { key: 'processed/p/thumb.webp', bytes: 2 },
    ],
  };
  for (const messageId of [message, 'message-uuid-456'])
    await sql(
      `with j as (insert into media_jobs (kind, status, payload) values ('none', 'cancelled', $1) returning id)
       select id from j`,
      [JSON.stringify({ s3Key: `uploads/${messageId}.jpg`, messageId })],
    );
  await sql(`update media_jobs set status = 'completed', result = $1`, [JSON.stringify(result)]);
  const rows = await sql(`select key, bytes, message_id from media_objects order by message_id, key`);
  assert.deepEqual(
    rows.map((row) => Object.values(row)),
    [message, null].flatMap((id) => [
      ['processed/p/photo.webp', 5, id],
      ['processed/p/thumb.webp', 2, id],
      [`uploads/${id ?? 'message-uuid-456'}.jpg`, 0, id],
    ]),
  );
});

test('the original of a video is in use too, by whichever name its job has it', async () => {
  const { sql } = messenger;
  await sql(`delete from media_objects; delete from media_jobs`);
  for (const payload of [{ inputPath: '/uploads/film.mov' }, { key: 'uploads/thumbs.jpg' }, { s3Key: 'uploads/a.jpg' }])
    await sql(`insert into media_jobs (kind, status, payload) values ('none', 'cancelled', $1)`, [
      JSON.stringify(payload),
    ]);
  await sql(`update media_jobs set status = 'completed', result = '{}'`);
  const rows = await sql(`select key from media_objects order by key`);
  assert.deepEqual(
    rows.map(({ key }) => key),
    ['uploads/a.jpg', 'uploads/film.mov', 'uploads/thumbs.jpg'],
  );
});

test('the segments of a stream, which no row names, go with its playlist after the last row with it', async () => {
  const { sql, one, cleanUp, keys, storage } = messenger;
  await sql(`delete from media_objects; delete from storage_deletions`);
  const folder = 'processed/uploads/film-0123456789abcdef0123';
  const names = ['master.m3u8', '720p/index.m3u8', '720p/0.m4s', 'storyboard.vtt', 'video.mp4'].map(
    (name) => `${folder}/${name}`,
  );
  await putAll(storage, names);
  const message = await one(
    `insert into messages (media_type, created_at) values ('video', now() - interval '366 days') returning id`,
  );
  await sql(`insert into media_jobs (kind, status, payload) values ('none', 'cancelled', $1)`, [
    { s3Key: 'uploads/film.mov', messageId: message },
  ]);
  const result = {
    hls: { key: names[0], master_url: `https://cdn.example.com/${names[0]}?X-Amz=1` },
    mp4: { key: names[4], bytes: 10 },
  };
  await sql(
    `update media_jobs set status = 'completed', result = $1 where payload ? 'messageId' and status = 'cancelled'`,
    [result],
  );
  await sql(`insert into media (url) values ('https://cdn.example.com/' || $1::text)`, [names[4]]);
  const rows = await sql(`select key from media_objects where message_id = $1 order by key`, [message]);
  assert.deepEqual(
    rows.map(({ key }) => key),
    [`${folder}/`, names[0], names[4], 'uploads/film.mov'],
  );

  // The row of media still shows the video.
  const { bytes: none } = await cleanUp('messages');
  assert.deepEqual([none, (await keys('processed/')).length], [0, 5]);

  await sql(`delete from media`);
  await sql(`update messages set media_removed_at = null where id = $1`, [message]);
  await sql(`insert into media_objects (key, bytes, message_id) select unnest($1::text[]), 10, $2`, [
    [`${folder}/`, names[4]],
    message,
  ]);
  const foretold = await cleanUp('messages', { dryRun: true });
  const { bytes } = await cleanUp('messages');
  assert.deepEqual([bytes, foretold.bytes, await keys('processed/')], [50, 50, []]);
});
