import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { after, before, beforeEach, suite, test } from 'node:test';
import sharp from 'sharp';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { eventually } from '../support/eventually.ts';
import { add, reads } from '../support/jobs.ts';
import { createMediaRig, keyOf, type MediaRig } from '../support/media-rig.ts';
import { fixture, picture } from '../support/pictures.ts';
import type { AskedRequest } from '../support/s3-server.ts';
import { createRig } from '../support/worker.ts';

// media.image end to end: a row, S3 over a socket, sharp.

let rig: MediaRig;
before(async () => void (rig = await createMediaRig({ CDN_BASE_URL: 'https://cdn.example.com/media' })));
after(() => rig.close());
beforeEach(() => void (rig.s3.requests.length = 0));

const photo = (width = 900, height = 600) => picture({ width, height });

/** As the messenger's documents have it. */
const seed = {
  type: 'image',
  s3Key: 'uploads/user123/photo.jpg',
  userId: 'user-uuid',
  messageId: 'message-uuid',
  originalName: 'vacation.jpg',
};

test("the messenger's own JSON makes a picture, a thumbnail and their description", async () => {
  const original = await picture({ width: 3000, height: 1500, gps: true, orientation: 6 });
  const id = await rig.submit('image', seed.s3Key, original, seed);
  const { result } = await reads(rig.db, id, { status: 'completed', attempt: 1, progress: 100, error_code: null });

  const [main, thumbnail] = rig.puts().toSorted((a, b) => b.body.length - a.body.length) as [
    AskedRequest,
    AskedRequest,
  ];
  assert.equal(rig.puts().length, 2);
  assert.match(keyOf(main), /^processed\/uploads\/user123\/photo-[0-9a-f]{20}\/image\.jpg$/);
  assert.equal(keyOf(thumbnail), keyOf(main).replace('image.jpg', 'thumbnail.webp'));
  const { thumbhash, ...described } = result;
  assert.match(thumbhash, /^[A-Za-z0-9+/]{20,40}=*$/);
  const url = (request: AskedRequest) => `https://cdn.example.com/media/${keyOf(request)}`;
  assert.deepEqual(described, {
    url: url(main),
    key: keyOf(main),
    width: 1024,
    height: 2048,
    bytes: main.body.length,
    format: 'jpeg',
    thumbnail_url: url(thumbnail),
    thumbnail: {
      url: url(thumbnail),
      key: keyOf(thumbnail),
      width: 200,
      height: 200,
      bytes: thumbnail.body.length,
      format: 'webp',
    },
    copies: [],
    metadata: {
      format: 'jpeg',
      width: 1500,
      height: 3000,
      bytes: original.length,
      orientation: 6,
      pages: 1,
      has_alpha: false,
      thumbhash,
    },
  });
  for (const { headers, body } of rig.puts()) {
    const { format, exif, xmp, icc } = await sharp(body).metadata();
    assert.deepEqual([headers['content-type'], exif, xmp, icc], [`image/${format}`, undefined, undefined, undefined]);
    assert.equal(headers['cache-control'], 'public, max-age=31536000, immutable');
  }
  await eventually(async () => assert.deepEqual(await readdir(rig.temp), [], 'no temporary file is left'));
});

test('copies in WebP and AVIF are stored beside the picture', async () => {
  const id = await rig.submit('image', 'copies.jpg', await photo(), {
    formats: ['webp', 'avif'],
    quality: 'unknown keys are ignored',
  });
  const { result } = await reads(rig.db, id, { status: 'completed' });
  assert.deepEqual(
    result.copies.map(({ key, format, width, height }: Record<string, unknown>) => [key, format, width, height]),
    [
      [result.key.replace('.jpg', '.webp'), 'webp', 900, 600],
      [result.key.replace('.jpg', '.avif'), 'avif', 900, 600],
    ],
  );
  const types = new Set(rig.puts().map(({ headers }) => headers['content-type']));
  assert.deepEqual([rig.puts().length, types], [4, new Set(['image/jpeg', 'image/webp', 'image/avif'])]);
});

test('a repeat writes the same keys; another original under the same key goes elsewhere', async () => {
  const id = await rig.submit('image', 'again.jpg', await photo());
  const first = await reads(rig.db, id, { status: 'completed' });
  await rig.sql(`update media_jobs set status = 'pending' where id = $1`, [id]);
  const second = await reads(rig.db, id, { status: 'completed', attempt: 2 });
  assert.deepEqual(second['result'], first['result']);
  assert.deepEqual([rig.puts().length, new Set(rig.puts().map(keyOf)).size], [4, 2]);

  const other = await reads(rig.db, await rig.submit('image', 'again.jpg', await photo(901)), { status: 'completed' });
  assert.notEqual(other['result'].key, first['result'].key);
});

for (const key of [
  'uploads/ünïcödé/Фото 日本 #1?&%20.jpg',
  `it's "quoted" <script>$(reboot).jpg`,
  '-rf/...hidden/photo',
  `${'long'.repeat(60)}/${'deep/'.repeat(20)}photo.jpg`,
  'uploads/photo.php.jpg',
])
  test(`what is made of ${JSON.stringify(key.slice(0, 50))} has a tame key`, async () => {
    const { result } = await reads(rig.db, await rig.submit('image', key, await photo(50, 40)), {
      status: 'completed',
    });
    assert.match(result.key, /^processed\/([a-zA-Z0-9_][a-zA-Z0-9._-]*\/)+image\.jpg$/);
    assert.ok(result.key.length < 700);
    assert.equal(result.url, `https://cdn.example.com/media/${result.key}`);
    assert.ok(await rig.app.storage.head(result.key));
  });

suite('A row of media', () => {
  const insert = async (columns: { source_key?: string; deleted?: boolean } = {}): Promise<string> => {
    const { source_key = null, deleted = false } = columns;
    const values = [source_key, deleted ? new Date() : null];
    const [row] = await rig.sql(
      `insert into media (source_key, deleted_at) values ($1, $2) returning id::text as media`,
      values,
    );
    return row!['media'];
  };
  const row = async (id: string) => (await rig.sql(`select * from media where id = $1`, [id]))[0]!;

  test('that is the file of the job is followed from PENDING to READY, and told what was made', async () => {
    await rig.sql(`create table seen (status text, media_status text)`);
    await rig.sql(`create function look() returns trigger language plpgsql as $$ begin
        insert into seen select new.status, m.status from media m where m.id::text = new.file_id; return null; end $$`);
    await rig.sql(`create trigger zz_look after insert or update on media_jobs for each row execute function look()`);
    const original = await photo();
    await rig.put('media/1.jpg', original);
    const media = await insert({ source_key: 'media/1.jpg' });
    const id = await add(rig.db, 'media', 'image', { file_id: media });
    const { result } = await reads(rig.db, id, { status: 'completed' });
    await rig.sql(`drop trigger zz_look on media_jobs`);

    const { status, url, thumbnail_url, metadata, processed_at } = await row(media);
    assert.deepEqual([status, url, thumbnail_url], ['READY', result.url, result.thumbnail_url]);
    assert.deepEqual(metadata, result.metadata);
    assert.equal(metadata.bytes, original.length);
    assert.ok(processed_at instanceof Date);
    assert.deepEqual(
      (await rig.sql(`select distinct status, media_status from seen order by 1`)).map((pair) => Object.values(pair)),
      [
        ['completed', 'READY'],
        ['pending', 'PENDING'],
        ['processing', 'PROCESSING'],
      ],
    );
  });

  test('of a job that fails is FAILED', async () => {
    await rig.put('media/broken.jpg', Buffer.from('no picture'));
    const media = await insert({ source_key: 'media/broken.jpg' });
    const id = await add(rig.db, 'media', 'image', { file_id: media });
    await reads(rig.db, id, { status: 'failed', error_code: 'not_an_image' });
    const { status, url } = await row(media);
    assert.deepEqual([status, url], ['FAILED', null]);
  });

  test('may be named by the payload, and its original by the job', async () => {
    const media = await insert();
    const id = await rig.submit('image', 'media/2.jpg', await photo(), { mediaId: media });
    const { result } = await reads(rig.db, id, { status: 'completed' });
    assert.equal((await row(media))['url'], result.url);
  });

  test('that is deleted, or not there, or has no original, says so', async () => {
    const cases: [payload: object, code: string][] = [
      [{ mediaId: await insert({ source_key: 'media/1.jpg', deleted: true }) }, 'media_deleted'],
      [{ mediaId: '00000000-0000-4000-8000-000000000000' }, 'media_not_found'],
      [{ mediaId: 'no uuid at all' }, 'media_not_found'],
      [{ mediaId: await insert() }, 'source_key_missing'],
      [{}, 'source_key_missing'],
    ];
    for (const [payload, error_code] of cases) {
      const id = await add(rig.db, 'media', 'image', { payload });
      await reads(rig.db, id, { status: 'failed', attempt: 1, error_code });
    }
  });

  test('that gets another original meanwhile is not overwritten: the job comes again', async () => {
    await rig.put('media/old.jpg', await photo(80));
    await rig.put('media/new.jpg', await photo(70));
    const media = await insert({ source_key: 'media/old.jpg' });
    // The job waits before it writes to the row, for as long as we hold the lock.
    await rig.sql(`create function wait_for_test() returns trigger language plpgsql as $$ begin
        perform pg_advisory_xact_lock(42); return null; end $$`);
    await rig.sql(
      `create trigger wait_for_test before update of url on media for each statement execute function wait_for_test()`,
    );
    const client = await rig.db.connect();
    try {
      await client.query(`select pg_advisory_lock(42)`);
      const id = await add(rig.db, 'media', 'image', { file_id: media });
      await eventually(async () => {
        const waiting = await rig.sql(
          `select from pg_stat_activity where datname = current_database() and wait_event = 'advisory'`,
        );
        assert.equal(waiting.length, 1);
      }, 30_000);
      await rig.sql(`update media set source_key = 'media/new.jpg' where id = $1`, [media]);
      await client.query(`select pg_advisory_unlock(42)`);
      await reads(rig.db, id, { status: 'completed', attempt: 2, error_code: 'media_changed' });
    } finally {
      client.release(true);
      await rig.sql(`drop trigger wait_for_test on media`);
    }
    assert.equal((await row(media))['metadata'].width, 70);
  });
});

suite('The message', () => {
  const original = photo();

  test('is left alone where there is no table of messages', async () => {
    const id = await rig.submit('image', 'm.jpg', await original, { messageId: 'message-uuid' });
    await reads(rig.db, id, { status: 'completed' });
  });

  for (const [type, messageId, none] of [
    ['text', 'message-uuid', 'another'],
    ['uuid', '6ab1f7a8-8b44-4c5e-9c0e-5a3f0f6f9d11', 'not a uuid'],
  ] as const)
    test(`is told in the transaction that completes the job, where its id is ${type}`, async () => {
      await rig.sql(
        `create table messages (id ${type} primary key, media_url text, thumbnail_url text, metadata jsonb,
          processed_at timestamptz)`,
      );
      try {
        await rig.sql(`insert into messages (id) values ($1)`, [messageId]);
        const id = await rig.submit('image', 'm.jpg', await original, { ...seed, s3Key: 'm.jpg', messageId });
        const { result } = await reads(rig.db, id, { status: 'completed' });
        const [message] = await rig.sql(`select * from messages`);
        const { media_url, thumbnail_url, metadata, processed_at } = message!;
        assert.deepEqual([media_url, thumbnail_url, metadata], [result.url, result.thumbnail_url, result.metadata]);
        assert.ok(processed_at);

        const missed = await rig.submit('image', 'm.jpg', await original, { messageId: none });
        await reads(rig.db, missed, { status: 'completed' });
      } finally {
        await rig.sql(`drop table messages`);
      }
    });
});

test('a picture that is a program too is only a picture afterwards', async () => {
  const page = '<script>alert("canary")</script><?php system("canary"); ?>PK\x03\x04';
  for (const format of ['jpeg', 'png', 'webp', 'gif'] as const) {
    const id = await rig.submit('image', 'polyglot', Buffer.concat([await picture({ format }), Buffer.from(page)]), {
      formats: ['webp'],
    });
    await reads(rig.db, id, { status: 'completed' });
    for (const { body } of rig.puts()) assert.ok(!body.includes('canary') && !body.includes('PK\x03\x04'), format);
  }
});

test('a HEIC of a phone is stored as JPEG', async () => {
  const { result } = await reads(rig.db, await rig.submit('image', 'IMG_0001.HEIC', await fixture('phone')), {
    status: 'completed',
  });
  assert.deepEqual([result.format, result.width, result.height, result.metadata.format], ['jpeg', 120, 160, 'heic']);
  assert.match(result.key, /^processed\/IMG_0001-[0-9a-f]{20}\/image\.jpg$/);
});

test('the same on local storage', async () => {
  const local = await createRig();
  try {
    const { app: own } = await local.worker(await loadRegistry(), { QUEUES: 'media', TEMP_DIR: rig.temp });
    await own.storage.put(seed.s3Key, await photo(), { contentType: 'image/jpeg' });
    const id = await add(local.db, 'media', 'image', { payload: seed });
    const { result } = await reads(local.db, id, { status: 'completed' });
    const body = await readFile(new URL(result.url));
    assert.equal(body.length, result.bytes);
    const { format, width } = await sharp(body).metadata();
    assert.deepEqual([format, width], ['jpeg', 900]);
  } finally {
    await local.close();
  }
});
