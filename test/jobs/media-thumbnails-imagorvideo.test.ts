import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { clip } from '../support/clips.ts';
import { eventually } from '../support/eventually.ts';
import { slow } from '../support/everything.ts';
import { startImagorVideo, type FakeImagorVideo, type ImagorFailure } from '../support/imagorvideo.ts';
import { reads, type Row } from '../support/jobs.ts';
import { picture, truncated } from '../support/pictures.ts';
import { spawnRowmill } from '../support/processes.ts';
import { startS3Server, type S3Server } from '../support/s3-server.ts';
import { checkStored, openBench, settings, shapes, type Bench } from '../support/thumbnails.ts';
import { createRig } from '../support/worker.ts';

// media.thumbnails with an imagorvideo that takes the frames of videos; and, since that can be made to wait, what
// happens in the middle of a job.

let s3: S3Server;
let imagor: FakeImagorVideo;
let bench: Bench;
const video = await clip();

before(async () => {
  [s3, imagor] = await Promise.all([startS3Server(), startImagorVideo()]);
  bench = await openBench({ ...s3.env, IMAGORVIDEO_URL: imagor.url });
});
beforeEach(() => {
  imagor.heal();
  imagor.asked.length = 0;
});
after(async () => {
  await bench.close();
  await Promise.all([s3.close(), imagor.close()]);
});

test('one frame is asked for, large enough for all sizes, of a signed source', async () => {
  const { id, key } = await bench.upload(video);
  await reads(bench.db, await bench.add({ mediaId: id }), { status: 'completed' });
  const row = await bench.media(id);
  assert.deepEqual([row.status, shapes(row)], ['READY', '150x84,64x36,320x180']);
  await checkStored(bench, row);
  const [asked, ...others] = imagor.asked;
  assert.deepEqual([asked!.box, others], [{ width: 400, height: 400 }, []]);
  const source = new URL(asked!.source);
  assert.deepEqual(
    [decodeURIComponent(source.pathname), source.searchParams.get('X-Amz-Expires')],
    [`/${s3.config.bucket}/${key}`, '3600'],
  );
});

test('pictures do not go there', async () => {
  const { id } = await bench.upload(await picture());
  await reads(bench.db, await bench.add({ mediaId: id }), { status: 'completed' });
  assert.deepEqual(imagor.asked, []);
});

const brokenPng = () => picture({ format: 'png' }).then((png) => truncated(png, 0.3));
const failures: [string, () => ImagorFailure | Promise<ImagorFailure>, string | null, number][] = [
  ['says that it failed', () => ({ pixel: true, times: 1 }), 'imagorvideo_failed', 2],
  ['is down', () => ({ status: 503, times: 1 }), null, 1],
  ['sends a page', () => ({ bytes: Buffer.from('<html>'), times: 1 }), 'imagorvideo_bad_answer', 2],
  ['sends a broken picture', async () => ({ bytes: await brokenPng(), times: 1 }), 'imagorvideo_bad_answer', 2],
  ['breaks off', () => ({ cutAfter: 100, times: 1 }), null, 1],
  ['says when to come back', () => ({ status: 429, headers: { 'retry-after': '1' }, times: 1 }), null, 1],
];
for (const [name, fail, error_code, attempt] of failures)
  test(`it ${name}, and then works: ${error_code ?? 'no retry is used'}`, async () => {
    imagor.fail(await fail());
    const { id } = await bench.upload(video);
    const job = await bench.add({ mediaId: id });
    const expected = { status: 'completed', error_code, attempt, retry_count: error_code ? 1 : 0 };
    const { error } = await reads(bench.db, job, expected);
    assert.doesNotMatch(String(error), /X-Amz/);
    assert.equal((await bench.media(id)).status, 'READY');
  });

test('it never makes a picture: the row is FAILED', async () => {
  imagor.fail({ pixel: true });
  const { id } = await bench.upload(video);
  const job = await bench.add({ mediaId: id }, { max_retries: 1 });
  await reads(bench.db, job, { status: 'failed', attempt: 2, error_code: 'imagorvideo_failed' });
  assert.equal((await bench.media(id)).status, 'FAILED');
});

/** A job that waits for imagorvideo, until `release`. */
async function midway(): Promise<{ id: string; job: number; release: () => void }> {
  const { promise, resolve: release } = Promise.withResolvers<void>();
  imagor.fail({ after: promise, times: 1 });
  const { id } = await bench.upload(video);
  const job = await bench.add({ mediaId: id });
  await eventually(() => assert.equal(imagor.asked.length, 1));
  return { id, job, release };
}

for (const [change, sql, outcome] of [
  ['deleted', `update media set deleted_at = now() where id = $1`, 'media_deleted'],
  ['given another original', `update media set source_key = 'other' where id = $1`, undefined],
] as const)
  test(`a row that is ${change} meanwhile gets no thumbnails of what it was`, async () => {
    const { id, job, release } = await midway();
    await bench.sql(sql, [id]);
    release();
    const ended = outcome
      ? { status: 'completed', result: { skipped: outcome }, error_code: 'media_changed' }
      : { status: 'failed', error_code: 'object_not_found' };
    await reads(bench.db, job, { ...ended, attempt: 2 });
    assert.equal((await bench.media(id))['thumbnails'], null);
  });

test('a cancelled job ends at once, writes nothing, and leaves its row as if it had not been', async () => {
  const { id, job, release } = await midway();
  await bench.sql(`update media_jobs set status = 'cancelled' where id = $1`, [job]);
  await eventually(async () => assert.deepEqual(await readdir(bench.temp), []));
  release();
  const row = await bench.media(id);
  assert.deepEqual([row.status, row['thumbnails']], ['PENDING', null]);
});

test('files of a local storage are not for imagorvideo: ffmpeg takes the frame', async () => {
  const local = await openBench({ IMAGORVIDEO_URL: imagor.url });
  try {
    const { id } = await local.upload(video);
    await reads(local.db, await local.add({ mediaId: id }), { status: 'completed' });
    assert.equal(shapes(await local.media(id)), '150x84,64x36,320x180');
    assert.deepEqual(imagor.asked, []);
  } finally {
    await local.close();
  }
});

slow('a worker is killed in the middle of it: another one makes the thumbnails', async () => {
  const rig = await createRig();
  const dir = await mkdtemp(join(tmpdir(), 'thumbnails-'));
  const env = { ...settings, ...s3.env, IMAGORVIDEO_URL: imagor.url, DATA_DIR: dir, TEMP_DIR: dir, NODE_ENV: 'test' };
  try {
    await bench.storage.put('killed.mp4', video, { contentType: 'video/mp4' });
    const { rows } = await rig.db.query(`insert into media (source_key) values ('killed.mp4') returning id`);
    imagor.fail({ hang: true });
    const child = await spawnRowmill(rig.db.url, env);
    const { rows: added } = await rig.db.query(
      `insert into media_jobs (kind, payload) values ('thumbnails', $1) returning id`,
      [JSON.stringify({ mediaId: rows[0].id })],
    );
    await eventually(() => assert.equal(imagor.asked.length, 1));
    child.kill('SIGKILL');
    imagor.heal();
    await rig.worker(await loadRegistry(), env);
    await reads(rig.db, added[0].id, { status: 'completed', attempt: 2, error_code: 'worker_lost' });
    const [row] = (await rig.db.query<Row>(`select * from media`)).rows;
    assert.deepEqual([row!.status, shapes(row!)], ['READY', '150x84,64x36,320x180']);
  } finally {
    await rig.close();
    await rm(dir, { recursive: true });
  }
});
