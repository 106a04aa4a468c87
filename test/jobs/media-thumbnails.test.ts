import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { after, before, beforeEach, suite, test } from 'node:test';
import sharp from 'sharp';
import { clip, generate, tone } from '../support/clips.ts';
import { slow } from '../support/everything.ts';
import { reads } from '../support/jobs.ts';
import { picture, truncated } from '../support/pictures.ts';
import { s3Failures, startS3Server, type S3Server } from '../support/s3-server.ts';
import { checkStored, openBench, shapes, type Bench } from '../support/thumbnails.ts';

// media.thumbnails end to end: a row of media, storage, sharp and ffmpeg.

const photo = await picture({ width: 600, height: 400, gps: true, orientation: 6 });
const video = await clip();
let s3: S3Server;
let local: Bench;
let bucket: Bench;

before(async () => {
  s3 = await startS3Server();
  [local, bucket] = await Promise.all([openBench(), openBench({ ...s3.env, CDN_BASE_URL: 'https://cdn.example.com' })]);
});
beforeEach(() => s3.heal());
after(async () => {
  await Promise.all([local.close(), bucket.close()]);
  await s3.close();
});

for (const name of ['a folder', 'a bucket'])
  suite(`in ${name}`, () => {
    let bench: Bench;
    before(() => (bench = name === 'a folder' ? local : bucket));

    test('a picture of a message gets thumbnails: upright, without GPS, on its row, whose status follows', async () => {
      const { sql } = bench;
      await sql(`create table seen (job text, media text)`);
      await sql(`create function look() returns trigger language plpgsql as $$ begin
        insert into seen select new.status, m.status from media m where m.id::text = new.file_id; return null; end $$`);
      await sql(
        `create trigger zz_look after insert or update of status on media_jobs for each row execute function look()`,
      );
      const { id, key } = await bench.upload(photo);
      const message = { mediaId: id, jobId: 'job-1', key, bucket: 'uploads', mimeType: 'image/jpeg' };
      const job = await reads(bench.db, await bench.add(message), { status: 'completed', file_id: id, attempt: 1 });
      await sql(`drop trigger zz_look on media_jobs`);
      assert.deepEqual(await sql(`select * from seen`), [
        { job: 'pending', media: 'PENDING' },
        { job: 'processing', media: 'PROCESSING' },
        { job: 'completed', media: 'READY' },
      ]);

      const row = await bench.media(id);
      assert.equal(shapes(row), '100x150,64x96,267x400');
      assert.ok(row['processed_at']);
      assert.deepEqual(job['result'], { thumbnails: row['thumbnails'] });
      for (const [n, box] of ['150x150', '64x100', '400x400'].entries())
        assert.match(
          row['thumbnails'][n].key,
          new RegExp(`^processed/uploads/user-123/[0-9a-f-]{36}-[0-9a-f]{20}/${box}.webp$`),
        );
      await checkStored(bench, row);
      assert.deepEqual(await readdir(bench.temp), []);
    });

    test('a video gives a frame of it', async () => {
      const { id } = await bench.upload(video);
      await reads(bench.db, await bench.add({}, { file_id: id }), { status: 'completed' });
      const row = await bench.media(id);
      assert.deepEqual([row.status, shapes(row)], ['READY', '150x84,64x36,320x180']);
      await checkStored(bench, row);
    });

    test('a repeat writes the same keys again', async () => {
      const { id } = await bench.upload(photo);
      await reads(bench.db, await bench.add({ mediaId: id }), { status: 'completed' });
      const first = await bench.media(id);
      await bench.sql(`update media set thumbnails = null where id = $1`, [id]);
      await reads(bench.db, await bench.add({ mediaId: id }), { status: 'completed' });
      assert.deepEqual((await bench.media(id))['thumbnails'], first['thumbnails']);
    });
  });

for (const format of ['webp', 'jpeg', 'png', 'avif'])
  test(`the job says which sizes, and ${format}; nothing is enlarged`, async () => {
    const { id } = await local.upload(await picture({ width: 300, height: 100, format: 'png', alpha: true }));
    const asked = [
      { width: 30, height: 4096 },
      { width: 4096, height: 50 },
      { width: 1000, height: 1000 },
    ];
    await reads(local.db, await local.add({ mediaId: id, sizes: asked, format }), { status: 'completed' });
    const row = await local.media(id);
    assert.equal(shapes(row), '30x10,150x50,300x100');
    await checkStored(local, row);
    const { data } = await sharp(await buffer(await local.storage.get(row['thumbnails'][2].key)))
      .ensureAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    const right = [...data.subarray((20 * 300 + 250) * 4, (20 * 300 + 250) * 4 + 4)];
    if (format === 'jpeg')
      assert.ok(
        right.every((value) => value > 250),
        `see-through became ${right.join()}`,
      );
    else assert.equal(right[3], 0);
  });

for (const source_key of [null, 'uploads/another.jpg'])
  test(`the original is what the job names, where its row names ${source_key ? 'another' : 'none'}`, async () => {
    const { id, key } = await local.upload(photo, { source_key });
    await reads(local.db, await local.add({ mediaId: id, key }), { status: 'completed' });
    assert.equal(shapes(await local.media(id)), '100x150,64x96,267x400');
  });

test('a row of media that comes later than its job follows it from the start', async () => {
  const { id, key } = await local.upload(photo);
  await local.sql(`delete from media where id = $1`, [id]);
  const job = await local.add({ mediaId: id }, { run_at: new Date(Date.now() + 3_600_000) });
  await local.sql(`insert into media (id, source_key) values ($1, $2)`, [id, key]);
  await local.sql(`update media_jobs set run_at = now() where id = $1`, [job]);
  await reads(local.db, job, { status: 'completed', file_id: id });
  assert.equal((await local.media(id)).status, 'READY');
});

suite('skipped, with a word why', () => {
  const skips = async (id: number, skipped: string) =>
    assert.deepEqual((await reads(local.db, id, { status: 'completed' }))['result'], { skipped });

  test('is a row that is not there', async () => {
    for (const mediaId of [randomUUID(), '42', 42])
      await skips(await local.add({ mediaId, s3Key: 'uploads/x.jpg' }), 'media_not_found');
  });

  test('is one that was deleted from the table while its job waited, which leaves a job that names none', async () => {
    const { id } = await local.upload(photo);
    const job = await local.add({}, { file_id: id, run_at: new Date(Date.now() + 3_600_000) });
    await local.sql(`delete from media where id = $1`, [id]);
    await local.sql(`update media_jobs set run_at = now() where id = $1`, [job]);
    await skips(job, 'media_not_found');
    await reads(local.db, job, { file_id: null, payload: {} });
  });

  test('is a deleted one', async () => {
    const { id } = await local.upload(photo);
    await local.sql(`update media set deleted_at = now() where id = $1`, [id]);
    await skips(await local.add({ mediaId: id }), 'media_deleted');
    assert.equal((await local.media(id))['thumbnails'], null);
  });

  test('is one that has these thumbnails, and no other', async () => {
    const { id } = await local.upload(photo);
    await reads(local.db, await local.add({ mediaId: id }), { status: 'completed' });
    const first = await local.media(id);
    await skips(await local.add({ mediaId: id }), 'already_made');
    assert.deepEqual(await local.media(id), first);

    const other = await local.upload(photo);
    for (const [payload, change] of [
      [{ sizes: [{ width: 10, height: 10 }] }, undefined],
      [{ format: 'png' }, undefined],
      [{}, undefined],
      [{}, `update media set source_key = '${other.key}'`],
      [{}, `update media set thumbnails = '[{"path": 1}, 2, {"key": 3}]'`],
    ] as const) {
      if (change) await local.sql(`${change} where id = $1`, [id]);
      const job = await local.add({ mediaId: id, ...payload });
      const { result } = await reads(local.db, job, { status: 'completed' });
      assert.deepEqual(result, { thumbnails: (await local.media(id))['thumbnails'] });
    }
  });
});

suite('a dead letter at once, and FAILED', () => {
  const cases: [string, () => Promise<{ original?: Buffer; payload?: object; source_key?: null }>, string][] = [
    ['an original that is not there', async () => ({}), 'object_not_found'],
    ['a row without an original', async () => ({ source_key: null }), 'source_key_missing'],
    ['a text', async () => ({ original: Buffer.from('Dear Sir or Madam') }), 'unsupported_media'],
    ['sound', async () => ({ original: await tone() }), 'unsupported_media'],
    ['data of no kind', async () => ({ original: Buffer.alloc(5000, 7) }), 'unsupported_media'],
    [
      'an SVG',
      async () => ({ original: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>') }),
      'unsupported_image_format',
    ],
    ['half a picture', async () => ({ original: truncated(photo) }), 'media_truncated'],
    [
      'a video that no kind takes',
      async () => ({
        original: await generate('f.mp4', '-f lavfi -i testsrc2=size=8200x64:rate=10:duration=0.1 -preset ultrafast'),
      }),
      'video_too_large',
    ],
    ['an empty file', async () => ({ original: Buffer.alloc(0) }), 'empty_file'],
    ['a file beyond MEDIA_MAX_MB', async () => ({ original: Buffer.alloc(3_000_001) }), 'file_too_large'],
    ['a size of nothing', async () => ({ payload: { sizes: [{ width: 0, height: 10 }] } }), 'invalid_payload'],
    ['a size beyond 4096', async () => ({ payload: { sizes: [{ width: 10, height: 4097 }] } }), 'invalid_payload'],
    ['no sizes', async () => ({ payload: { sizes: [] } }), 'invalid_payload'],
    [
      '21 sizes',
      async () => ({ payload: { sizes: Array.from({ length: 21 }, () => ({ width: 1, height: 1 })) } }),
      'invalid_payload',
    ],
    ['a format that is none', async () => ({ payload: { format: 'bmp' } }), 'invalid_payload'],
  ];
  for (const [name, make, code] of cases)
    test(`${name}: ${code}`, async () => {
      const { original, payload, ...columns } = await make();
      const { id } = await local.upload(original, columns);
      const job = await local.add({ mediaId: id, ...payload });
      await reads(local.db, job, { status: 'failed', error_code: code, attempt: 1 });
      const row = await local.media(id);
      assert.deepEqual([row.status, row['thumbnails'], row['processed_at']], ['FAILED', null, null]);
      assert.deepEqual(await readdir(local.temp), []);
    });

  test('a mediaId that is none', async () => {
    await reads(local.db, await local.add({ mediaId: {} }), { status: 'failed', error_code: 'invalid_payload' });
  });
});

slow('storage that fails is asked again; if it stays down the row is FAILED, and READY after a rerun', async () => {
  const { id } = await bucket.upload(photo);
  s3.fail(s3Failures.internalError);
  const job = await bucket.add({ mediaId: id }, { max_retries: 1 });
  await reads(bucket.db, job, { status: 'failed', attempt: 2, error_code: 'storage_unavailable' });
  assert.equal((await bucket.media(id)).status, 'FAILED');
  s3.heal();
  await bucket.sql(`update media_jobs set status = 'pending' where id = $1`, [job]);
  await reads(bucket.db, job, { status: 'completed' });
  assert.equal((await bucket.media(id)).status, 'READY');
});

test('a job that came before its row of media is about that row, once it is there', async () => {
  const id = randomUUID();
  const { key } = await local.upload(photo);
  const job = await local.add({ mediaId: id }, { run_at: new Date(Date.now() + 3_600_000) });
  await reads(local.db, job, { file_id: null });
  await local.sql(`insert into media (id, source_key) values ($1, $2)`, [id, key]);
  await local.sql(`update media_jobs set run_at = now() where id = $1`, [job]);
  await reads(local.db, job, { status: 'completed', file_id: id });
  assert.equal((await local.media(id)).status, 'READY');
});

test('in a private bucket the addresses on the row are signed', async () => {
  const bench = await openBench({ ...s3.env, STORAGE_PRIVATE: 'true' });
  try {
    const { id } = await bench.upload(photo);
    await reads(bench.db, await bench.add({ mediaId: id }), { status: 'completed' });
    const [{ url, bytes }] = (await bench.media(id))['thumbnails'];
    assert.equal((await (await fetch(url)).arrayBuffer()).byteLength, bytes);
  } finally {
    await bench.close();
  }
});
