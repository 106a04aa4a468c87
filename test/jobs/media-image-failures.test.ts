import assert from 'node:assert/strict';
import { after, afterEach, before, suite, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { slowIf } from '../support/everything.ts';
import { add, failsOnce, reads } from '../support/jobs.ts';
import { createMediaRig, type MediaRig } from '../support/media-rig.ts';
import { avifBomb, fixture, gifBomb, jpegBomb, picture, pngBomb, truncated, webpBomb } from '../support/pictures.ts';
import { s3Failures, type AskedRequest } from '../support/s3-server.ts';

// What becomes of media.image when its original is no good, or storage is away.

let rig: MediaRig;
before(async () => void (rig = await createMediaRig({ MEDIA_MAX_MB: '3' })));
after(() => rig.close());
afterEach(() => {
  rig.s3.heal();
  rig.s3.requests.length = 0;
});

suite('What can never be shown is a dead letter at once, and nothing is stored', () => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>';
  const cases: [what: string, file: () => Buffer | Promise<Buffer>, code: string][] = [
    ['an error page', () => Buffer.from('<!doctype html><p>Sorry'), 'not_an_image'],
    ['an empty file', () => Buffer.alloc(0), 'empty_file'],
    ['an SVG', () => Buffer.from(svg), 'unsupported_image_format'],
    ['a BMP', () => Buffer.from('BM' + '\0'.repeat(60)), 'unsupported_image_format'],
    ['raw pixels of libvips', () => Buffer.from('\x08\xf2\xa6\xb6' + '\0'.repeat(100), 'latin1'), 'not_an_image'],
    ['a playlist of ffmpeg', () => Buffer.from('ffconcat version 1.0\nfile /etc/passwd\n'), 'not_an_image'],
    ['a PNG of 900 megapixels', () => pngBomb({ width: 30_000, height: 30_000 }), 'image_too_large'],
    [
      'an interlaced PNG of 100 megapixels',
      () => pngBomb({ width: 10_000, height: 10_000, interlaced: true }),
      'image_too_large',
    ],
    ['a JPEG of 4 gigapixels', jpegBomb, 'image_too_large'],
    ['a WebP of 268 megapixels', webpBomb, 'image_too_large'],
    ['a GIF of 4 gigapixels', gifBomb, 'image_too_large'],
    ['an AVIF of 64 megapixels', () => avifBomb({ width: 8000, height: 8000 }), 'image_too_large'],
    ['a file of 4 MB where 3 are allowed', () => Buffer.alloc(4_000_000), 'file_too_large'],
    ...(['jpeg', 'png', 'webp', 'gif', 'avif'] as const).map((format): [string, () => Promise<Buffer>, string] => [
      `half a ${format}`,
      async () => truncated(await picture({ format, photo: true })),
      'media_truncated',
    ]),
    [
      'a PNG with garbage in it',
      async () => (await picture({ format: 'png', photo: true })).fill('?', 2000, 9000),
      'image_corrupt',
    ],
    ['half a HEIC', async () => truncated(await fixture('phone')), 'media_truncated'],
  ];
  for (const [what, file, error_code] of cases)
    test(`${what}: ${error_code}`, async () => {
      const id = await rig.submit('image', 'refused', await file());
      const row = await reads(rig.db, id, { status: 'failed', attempt: 1, retry_count: 3, error_code });
      assert.doesNotMatch(row['error'], /\n|rowmill-|original/);
      assert.deepEqual(rig.puts(), []);
    });

  test('an object that is not there: object_not_found', async () => {
    const id = await add(rig.db, 'media', 'image', { payload: { s3Key: 'nowhere' } });
    await reads(rig.db, id, { status: 'failed', attempt: 1, error_code: 'object_not_found' });
  });

  test('a key that climbs: invalid_storage_key', async () => {
    const id = await add(rig.db, 'media', 'image', { payload: { s3Key: '../../etc/passwd' } });
    await reads(rig.db, id, { status: 'failed', attempt: 1, error_code: 'invalid_storage_key' });
    assert.deepEqual(rig.s3.requests, []);
  });
});

test('an original that is still growing is tried again until it is whole', async () => {
  const whole = await picture({ photo: true });
  await rig.put('growing.jpg', truncated(whole, 0.3));
  rig.s3.fail({ ...s3Failures.slowDown, when: ({ method }) => method === 'HEAD' });
  const id = await add(rig.db, 'media', 'image', { payload: { s3Key: 'growing.jpg' } });
  await eventually(async () => assert.ok(rig.s3.requests.some(({ method }) => method === 'HEAD')));
  await rig.put('growing.jpg', whole);
  rig.s3.heal();
  const { result } = await reads(rig.db, id, { status: 'completed', error_code: 'original_changed', attempt: 2 });
  assert.deepEqual([result.metadata.bytes, result.truncated], [whole.length, undefined]);
});

const passing: [what: string, goWrong: () => void, code: string][] = [
  [
    'storage fails half way, for longer than it is asked again',
    () => rig.s3.fail({ ...s3Failures.internalError, when: thumbnails }),
    'storage_unavailable',
  ],
  ['storage breaks off the download', () => rig.s3.truncate(), 'storage_unavailable'],
];
const thumbnails = ({ method, url }: AskedRequest) => method === 'PUT' && url.includes('thumbnail');

for (const [index, [what, goWrong, error_code]] of passing.entries())
  slowIf(index > 0)(`when ${what}, the job is tried again until it works`, async () => {
    await rig.put('bumpy.jpg', await picture());
    goWrong();
    const id = await add(rig.db, 'media', 'image', { payload: { s3Key: 'bumpy.jpg' } });
    await failsOnce(rig.db, id);
    rig.s3.heal();
    const { result, attempt } = await reads(rig.db, id, { status: 'completed', error_code });
    assert.ok(attempt > 1);
    assert.equal((await rig.app.storage.head(result.thumbnail.key))?.bytes, result.thumbnail.bytes);
    assert.equal((await rig.app.storage.head(result.key))?.bytes, result.bytes);
  });
