import assert from 'node:assert/strict';
import { access, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import sharp from 'sharp';
import { createStorage } from '../../worker/base/storage/create.ts';
import { createImagorVideo } from '../../worker/providers/imagorvideo.ts';
import { clip } from '../support/clips.ts';
import { startImagorVideo, type FakeImagorVideo, type ImagorFailure } from '../support/imagorvideo.ts';
import { startS3Server, type S3Server } from '../support/s3-server.ts';

// imagorvideo over a socket, which fetches the video from S3 over a socket.

let imagor: FakeImagorVideo;
let s3: S3Server;
let dir: string;
let to: string;
/** Signed: its query has to come through whole. */
let source: string;
const never = new AbortController().signal;
const box = { width: 160, height: 160 };
const at = (imagorVideoUrl: string, limits?: { timeoutMs: number }) =>
  createImagorVideo({ imagorVideoUrl, tempDir: dir }, limits)!;

before(async () => {
  [imagor, s3] = await Promise.all([startImagorVideo(), startS3Server()]);
  const storage = createStorage(s3.config);
  const key = 'uploads/ü 100% a+b&c(1).mp4';
  await storage.put(key, await clip(), { contentType: 'video/mp4' });
  source = await storage.presign(key, 3600);
});
beforeEach(async () => {
  imagor.heal();
  imagor.asked.length = 0;
  dir = await mkdtemp(join(tmpdir(), 'imagorvideo-'));
  to = join(dir, 'frame');
});
afterEach(() => rm(dir, { recursive: true }));
after(async () => {
  await Promise.all([imagor.close(), s3.close()]);
});

for (const path of ['', '/unsafe'])
  test(`a frame is a PNG in its box, of a signed source, when asked for at ${path || 'the bare address'}`, async () => {
    await at(imagor.url + path).takeFrame(source, to, { box, signal: never });
    const { format, width, height } = await sharp(await readFile(to)).metadata();
    assert.deepEqual({ format, width, height }, { format: 'png', width: 160, height: 90 });
    assert.deepEqual(imagor.asked, [{ box, filters: { format: 'png' }, source }]);
  });

const pixel = Buffer.from('R0lGODlhAQABAIAAAAAAAAAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==', 'base64');
const failures: [string, ImagorFailure, Record<string, unknown>][] = [
  ['it could not make a picture', { pixel: true }, { name: 'RetryableError', code: 'imagorvideo_failed' }],
  ['it fails', { status: 500 }, { name: 'RetryableError', code: 'imagorvideo_unavailable' }],
  ['it takes too long itself', { status: 408 }, { name: 'RetryableError', code: 'imagorvideo_unavailable' }],
  ['its queue is full', { status: 429 }, { name: 'RetryableError', code: 'imagorvideo_rate_limited' }],
  ['it says when to come back', { status: 429, headers: { 'retry-after': '7' } }, { name: 'Snooze', delayMs: 7000 }],
  ['it refuses the signature', { status: 403 }, { name: 'DeploymentError', code: 'imagorvideo_unauthorized' }],
  ['the source is gone', { status: 404 }, { name: 'PermanentError', code: 'imagorvideo_not_found' }],
  ['the frame is too large for it', { status: 422 }, { name: 'PermanentError', code: 'imagorvideo_refused' }],
  [
    'it leads elsewhere',
    { status: 302, headers: { location: 'http://169.254.169.254/latest/meta-data' } },
    { name: 'PermanentError', code: 'imagorvideo_redirected' },
  ],
  ['it never answers', { hang: true }, { name: 'RetryableError', code: 'imagorvideo_timeout' }],
  ['the answer breaks off', { cutAfter: 500 }, { name: 'RetryableError', code: 'imagorvideo_truncated' }],
  [
    'a page comes in place of the picture',
    { bytes: Buffer.from('<!doctype html><p>Sorry') },
    { name: 'RetryableError', code: 'imagorvideo_bad_answer' },
  ],
  ['nothing comes', { bytes: Buffer.alloc(0) }, { name: 'RetryableError', code: 'imagorvideo_bad_answer' }],
  ['a pixel comes with 200', { bytes: pixel }, { name: 'RetryableError', code: 'imagorvideo_bad_answer' }],
];

for (const [name, failure, expected] of failures)
  test(`when ${name}: ${String(expected['code'] ?? expected['name'])}, and no file is left`, async () => {
    imagor.fail(failure);
    // Short only where it is to pass: a busy machine takes its time to answer.
    const timeoutMs = 'hang' in failure ? 500 : 60_000;
    const taking = at(imagor.url, { timeoutMs }).takeFrame(source, to, { box, signal: never });
    await assert.rejects(taking, (error: Error) => {
      assert.doesNotMatch(error.message, /X-Amz|uploads/);
      assert.deepEqual(Object.fromEntries(Object.keys(expected).map((key) => [key, (error as never)[key]])), expected);
      return true;
    });
    await assert.rejects(access(to));
  });

test('an abort ends the request, with its own reason', async () => {
  imagor.fail({ hang: true });
  const caller = new AbortController();
  const taking = at(imagor.url).takeFrame(source, to, { box, signal: caller.signal });
  caller.abort(new Error('cancelled by test'));
  await assert.rejects(taking, { message: 'cancelled by test' });
});

test('its check passes where it lets us in, and fails where it does not or nobody answers', async () => {
  await at(imagor.url).check({ signal: never });
  imagor.fail({ status: 403 });
  await assert.rejects(at(imagor.url).check({ signal: never }), {
    code: 'imagorvideo_unauthorized',
    message: /-imagor-unsafe/,
  });
  await assert.rejects(at('http://127.0.0.1:1').check({ signal: never }), {
    name: 'DeploymentError',
    code: 'imagorvideo_unavailable',
    message: /IMAGORVIDEO_URL/,
  });
});
