import assert from 'node:assert/strict';
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { add, reads } from '../support/jobs.ts';
import { createMessenger, putAll, type Messenger } from '../support/messenger.ts';

// Objects that nobody refers to, among many that somebody does.

let messenger: Messenger;
let objects: string[];
const hash = '0123456789abcdef0123';
const used = [
  ...Array.from({ length: 60 }, (_, n) => `uploads/used-${n}.jpg`),
  `processed/uploads/film-${hash}/master.m3u8`,
  'uploads/original.mov',
  'temp/waiting.bin',
];
/** What nothing but a row of media, or a job that is still to be done, refers to. */
const usedByMedia = [
  'processed/uploads/shown-bbbbbbbbbbbbbbbbbbbb/image.jpg',
  'processed/uploads/small-cccccccccccccccccccc/150x150.webp',
  'uploads/failed.mov',
  'uploads/film.mov',
];
const kept = [
  ...used,
  ...usedByMedia,
  `processed/uploads/film-${hash}/720p/1.ts`,
  'elsewhere/unknown.bin',
  'uploads/young.jpg',
];
const orphans = ['uploads/lost.jpg', 'stories/lost.jpg', 'processed/uploads/film-aaaaaaaaaaaaaaaaaaaa/1.ts'];

before(async () => {
  messenger = await createMessenger();
  await putAll(messenger.storage, [...kept, ...orphans]);
  const weekAgo = new Date(Date.now() - 8 * 86_400_000);
  for (const key of [...kept, ...orphans])
    if (key !== 'uploads/young.jpg') await utimes(join(new URL(messenger.storage.url(key)).pathname), weekAgo, weekAgo);
  const [master, original, waiting] = used.slice(60);
  await messenger.sql(`insert into media_objects (key) select unnest($1::text[])`, [[...used.slice(0, 60), master]]);
  await messenger.sql(`insert into media (source_key) values ($1)`, [original]);
  await messenger.sql(`insert into temp_files (key) values ($1)`, [waiting]);
  const [shown, small, failed, film] = usedByMedia;
  await messenger.sql(`insert into media (url, thumbnails) values ($1, $2)`, [
    `https://cdn.example.com/${shown}?X-Amz-Signature=1`,
    JSON.stringify([{ key: small, width: 150 }]),
  ]);
  await messenger.sql(
    `insert into media_jobs (kind, payload, status) values ('none', $1, 'failed'), ('none', $2, 'failed')`,
    [{ s3Key: failed }, { inputPath: `/${film}` }],
  );
  objects = await messenger.keys();
});
after(() => messenger.close());

const figures = async (payload: Record<string, unknown>) => {
  const { scanned, deleted, skipped, errors, dryRun, remaining } = await messenger.cleanUp('orphaned_media', payload);
  return { scanned, deleted, skipped, errors, dryRun, remaining };
};
const scanned = kept.length + orphans.length - 1;
const aDayPasses = () => messenger.sql(`update orphan_sightings set seen_at = seen_at - interval '1 day'`);

test('as it stands it is a dry run: nothing is deleted, and nothing is remembered', async () => {
  const expected = { scanned, deleted: 0, skipped: 3, errors: 0, dryRun: true, remaining: false };
  assert.deepEqual(await figures({ type: 'orphaned_media' }), expected);
  assert.deepEqual(await figures({ type: 'orphaned_media' }), expected);
  assert.equal(await messenger.one('select count(*) from orphan_sightings'), 0);
  assert.deepEqual(await messenger.keys(), objects);
});

test('orphans go when seen twice, a day apart; what is young, used, of a used folder or elsewhere stays', async () => {
  assert.deepEqual(await figures({ dryRun: false }), {
    scanned,
    deleted: 0,
    skipped: 3,
    errors: 0,
    dryRun: false,
    remaining: false,
  });
  assert.deepEqual(await figures({ dryRun: false }), {
    scanned,
    deleted: 0,
    skipped: 3,
    errors: 0,
    dryRun: false,
    remaining: false,
  });
  assert.deepEqual(await messenger.keys(), objects);
  await aDayPasses();
  // Used at last: it is no orphan any more.
  await messenger.sql(`insert into media_objects (key) values ('stories/lost.jpg')`);
  assert.deepEqual(await figures({ dryRun: true }), {
    scanned,
    deleted: 2,
    skipped: 0,
    errors: 0,
    dryRun: true,
    remaining: true,
  });
  assert.deepEqual(await messenger.keys(), objects);
  assert.deepEqual(await figures({ dryRun: false, chunk: 1 }), {
    scanned,
    deleted: 2,
    skipped: 0,
    errors: 0,
    dryRun: false,
    remaining: false,
  });
  assert.deepEqual(await messenger.keys(), [...kept, 'stories/lost.jpg'].toSorted());
  assert.deepEqual(
    await messenger.sql('select key from orphan_sightings union all select key from storage_listing'),
    [],
  );
});

/** What stops it, in a dry run as in another. */
const stops: [string, Record<string, unknown>, string, string][] = [
  ['a prefix that nobody knows', { prefixes: ['elsewhere/'] }, 'select 1', 'orphans_unknown_prefix'],
  ['the whole bucket as a prefix', { prefixes: ['u'] }, 'select 1', 'orphans_unknown_prefix'],
  ['a database of another bucket', {}, `update media_objects set key = 'other/' || key`, 'orphans_too_many'],
  ['tables without a row', {}, 'truncate media_objects', 'orphans_no_references'],
];
for (const [what, payload, change, code] of stops)
  test(`it stops before it deletes or remembers anything: ${what}`, async () => {
    const stored = await messenger.keys();
    await messenger.sql(change);
    for (const dryRun of [true, false]) {
      const id = await add(messenger.rig.db, 'cleanup', 'orphaned_media', { payload: { ...payload, dryRun } });
      await reads(messenger.rig.db, id, { status: 'failed', error_code: code, attempt: 1 });
    }
    assert.deepEqual(await messenger.keys(), stored);
    assert.equal(await messenger.one('select count(*) from orphan_sightings'), 0);
    assert.equal(await messenger.one('select count(*) from storage_deletions'), 0);
    assert.equal(await messenger.one('select count(*) from storage_listing'), 0);
  });
