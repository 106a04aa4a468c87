import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { after, before, beforeEach, test } from 'node:test';
import sharp from 'sharp';
import { slow } from '../support/everything.ts';
import { aac, h264, openFootage, picture, tone, type Footage } from '../support/footage.ts';
import { ffmpegEnv } from '../support/clips.ts';
import { eventually } from '../support/eventually.ts';
import { add, failsOnce, reads, rows } from '../support/jobs.ts';
import { createMediaRig, type MediaRig } from '../support/media-rig.ts';
import { quietNow } from '../support/quiet-time.ts';
import { s3Failures } from '../support/s3-server.ts';

// media.video end to end: a row, S3 over a socket, ffmpeg.

let rig: MediaRig;
let clips: Footage;
let clip: string;

before(async () => {
  clips = await openFootage();
  rig = await createMediaRig({
    ...ffmpegEnv,
    CDN_BASE_URL: 'https://cdn.example.com',
    // So that an encode takes long.
    FFMPEG_PRESET: 'veryslow',
    MEDIA_MEMORY_MB: '1000',
  });
  // As it stands in the messenger's own database.
  await rig.sql(
    `create table messages (id text primary key, media_url text, thumbnail_url text, metadata jsonb,
     processed_at timestamptz)`,
  );
  clip = await clips.make(
    'clip.mp4',
    `${picture('320x180', 2)} ${tone(2)} -shortest ${h264} ${aac} -movflags +faststart`,
  );
});
beforeEach(() => {
  rig.s3.heal();
  rig.s3.requests.length = 0;
});
after(async () => {
  await rig.close();
  await clips.close();
});

const store = async (key: string, path = clip) =>
  rig.app.storage.put(key, await readFile(path), { contentType: 'video/mp4' });
const video = (payload: Record<string, unknown>, columns: Record<string, unknown> = {}) =>
  add(rig.db, 'media', 'video', { payload, ...columns });
const written = () => rig.s3.requests.filter(({ method, url }) => method === 'PUT' && url.includes('/processed/'));
const tempIsEmpty = () =>
  eventually(async () => assert.deepEqual(await readdir(rig.temp), [], 'no temporary file is left'));

test('the message of the documentation is processed: video and thumbnail stored, the message told', async () => {
  await store('uploads/user123/video.mp4');
  await rig.sql(`insert into messages values ('message-uuid'), ('another')`);
  const id = await video({
    type: 'video',
    s3Key: 'uploads/user123/video.mp4',
    userId: 'user-uuid',
    messageId: 'message-uuid',
    originalName: 'clip.mp4',
    unknown: true,
  });
  const { result } = await reads(
    rig.db,
    id,
    { status: 'completed', attempt: 1, progress: 100, error_code: null },
    30_000,
  );
  const { width, height, mode, metadata, thumbnail } = result;
  assert.deepEqual([width, height, mode, thumbnail.width, thumbnail.height], [320, 180, 'copy', 320, 180]);
  assert.deepEqual([metadata.format, metadata.width, metadata.height], ['mp4', 320, 180]);
  const folder = 'processed/uploads/user123/video-[0-9a-f]{20}';
  assert.match(result.url, new RegExp(`^https://cdn.example.com/${folder}/video.mp4$`));
  assert.match(result.thumbnail_url, new RegExp(`^https://cdn.example.com/${folder}/thumbnail.jpg$`));

  const stored = written();
  assert.deepEqual(
    stored.map(({ headers }) => [headers['content-type'], headers['cache-control']]),
    ['image/jpeg', 'video/mp4'].map((type) => [type, 'public, max-age=31536000, immutable']),
  );
  assert.equal((await sharp(stored[0]!.body).metadata()).format, 'jpeg');
  assert.equal(stored[1]!.body.length, result.bytes);

  const messages = await rig.sql(`select * from messages order by id`);
  assert.equal(messages[0]!['media_url'], null, 'no other message is touched');
  const { processed_at, ...told } = messages[1]!;
  assert.ok(processed_at);
  assert.deepEqual(told, {
    id: 'message-uuid',
    media_url: result.url,
    thumbnail_url: result.thumbnail_url,
    metadata,
  });
  await tempIsEmpty();
});

test('a row of media names the original, is told what became of it, and its status follows', async () => {
  await store('rows/a.mp4');
  const [media] = await rig.sql(`insert into media (source_key) values ('rows/a.mp4') returning id`);
  const id = await video({}, { file_id: media!.id });
  const { result } = await reads(rig.db, id, { status: 'completed' }, 30_000);
  const [row] = await rig.sql(`select status, url, thumbnail_url, metadata, processed_at from media where id = $1`, [
    media!.id,
  ]);
  const { processed_at, ...saved } = row!;
  assert.ok(processed_at);
  const { url, thumbnail_url, metadata } = result;
  assert.deepEqual(saved, { status: 'READY', url, thumbnail_url, metadata });

  const [other] = await rig.sql(`insert into media (source_key) values ('rows/a.mp4') returning id`);
  await reads(rig.db, await video({ mediaId: other!.id }), { status: 'completed' }, 30_000);
  assert.equal((await rig.sql(`select url from media where id = $1`, [other!.id]))[0]!['url'], url);
});

test('a repeat writes the same keys', async () => {
  await store('repeat.mp4');
  const id = await video({ s3Key: 'repeat.mp4' });
  const first = await reads(rig.db, id, { status: 'completed' }, 30_000);
  await rig.sql(`update media_jobs set status = 'pending' where id = $1`, [id]);
  const second = await reads(rig.db, id, { status: 'completed', attempt: 2 }, 30_000);
  assert.deepEqual(second['result'], first['result']);
  const keys = written().map(({ url }) => url.split('?')[0]);
  assert.deepEqual([keys.length, new Set(keys).size], [4, 2]);
});

slow('when storage fails for longer than its retries, the job is retried until it succeeds', async () => {
  await store('retried.mp4');
  rig.s3.fail({
    ...s3Failures.internalError,
    when: ({ method, url }) => method === 'PUT' && url.includes('video.mp4'),
  });
  const id = await video({ s3Key: 'retried.mp4' });
  await failsOnce(rig.db, id);
  rig.s3.heal();
  const row = await reads(rig.db, id, { status: 'completed', error_code: 'storage_unavailable' });
  assert.ok(row['attempt'] > 1);
  assert.equal((await rig.app.storage.head(row['result'].key))?.bytes, row['result'].bytes);
});

test('a watermark is laid over a video that would be copied without', async () => {
  await store('marked.mp4');
  const mark = sharp({ create: { width: 40, height: 400, channels: 3, background: '#ff0000' } });
  await rig.put('mark.png', await mark.png().toBuffer());
  const watermark = { key: 'mark.png', position: 'topright', opacity: 1, scale: 0.5 };
  const id = await video({ s3Key: 'marked.mp4', options: { watermark } });
  const { result } = await reads(rig.db, id, { status: 'completed' }, 30_000);
  assert.equal(result.mode, 'encode');
  const thumbnail = written().find(({ url }) => url.includes('thumbnail.jpg'))!.body;
  // As high as the video without the gap of 5 pixels above and below: 17 x 170 pixels.
  const { data, info } = await sharp(thumbnail).raw().toBuffer({ resolveWithObject: true });
  const isRed = (x: number, y: number) => {
    const [r, g, b] = data.subarray((y * info.width + x) * info.channels);
    return r! > 180 && g! < 90 && b! < 90;
  };
  assert.deepEqual([isRed(306, 10), isRed(306, 90), isRed(306, 170)], [true, true, true]);
  assert.deepEqual([isRed(306, 1), isRed(306, 178), isRed(290, 90), isRed(317, 90)], [false, false, false, false]);

  const plain = await reads(rig.db, await video({ s3Key: 'marked.mp4' }), { status: 'completed' }, 30_000);
  assert.equal(plain['result'].mode, 'copy');
  assert.notEqual(plain['result'].key, result.key);
});

/** What cannot be: [name, payload, code]. */
const refusals: [string, () => Promise<Record<string, unknown>>, string][] = [
  ['names nothing', async () => ({ type: 'video' }), 'source_key_missing'],
  ['names an object that is not there', async () => ({ s3Key: 'absent.mp4' }), 'object_not_found'],
  [
    'names a row that is not there',
    async () => ({ mediaId: '6a2f3c1e-8f0e-4b8e-9d0c-0b6d7e0f9a11' }),
    'media_not_found',
  ],
  ['names a row by what can be no id', async () => ({ mediaId: 'none' }), 'media_not_found'],
  [
    'names a row that was deleted',
    async () => ({
      mediaId: (await rig.sql(`insert into media (source_key, deleted_at) values ('a', now()) returning id`))[0]!.id,
    }),
    'media_deleted',
  ],
  [
    'is about a file that is cut off',
    async () => {
      await store('cut.mp4', await clips.change(clip, (bytes) => bytes.subarray(0, bytes.length / 2)));
      return { s3Key: 'cut.mp4' };
    },
    'media_truncated',
  ],
];
for (const [name, payload, code] of refusals)
  test(`a job that ${name} is a dead letter at once: ${code}`, async () => {
    const id = await video(await payload());
    const row = await reads(rig.db, id, { status: 'failed', error_code: code, attempt: 1, retry_count: 3 }, 30_000);
    assert.ok(!row['error'].includes(rig.temp));
    assert.deepEqual(written(), []);
    await tempIsEmpty();
  });

test(
  'a job that is cancelled by SQL takes its ffmpeg with it',
  { skip: process.platform !== 'linux' && 'it reads /proc' },
  async () => {
    await store(
      'long.avi',
      await clips.make('long.avi', '-f lavfi -i testsrc2=s=640x360:r=30:d=60 -c:v mpeg4 -q:v 20'),
    );
    const id = await video({ s3Key: 'long.avi' });
    await eventually(async () => assert.ok((await encoders()).length > 0), 30_000);
    await eventually(async () => assert.ok((await rows(rig.db, [id]))[0]!['progress'] > 5), 30_000);
    await rig.sql(`update media_jobs set status = 'cancelled' where id = $1`, [id]);
    const cancelled = quietNow();
    await eventually(async () => assert.deepEqual(await encoders(), []));
    const took = quietNow() - cancelled;
    assert.ok(took < 5_000, `${took} ms`);
    await tempIsEmpty();
    assert.equal((await rows(rig.db, [id]))[0]!.status, 'cancelled');
    assert.deepEqual(written(), []);
  },
);

/** The processes that write a video in this test's folder. */
async function encoders(): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return commands.filter((command) => command.includes(rig.temp) && command.includes('libx264'));
}
