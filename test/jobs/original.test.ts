import assert from 'node:assert/strict';
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { createApp, type App } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { PermanentError } from '../../worker/base/errors.ts';
import { keyOf, withOriginal } from '../../worker/jobs/media/original/original.ts';
import { silent } from '../support/log.ts';

// Which of several names of an original counts; and what becomes of one that is still being written.

const row = { source_key: 'row.jpg' };
const cases: [name: string, payload: Parameters<typeof keyOf>[0], media: Parameters<typeof keyOf>[1], key: string][] = [
  ['the payload before the row', { s3Key: 'a.jpg' }, row, 'a.jpg'],
  ['the payload of a transcode before the row', { inputPath: 'a.mp4' }, row, 'a.mp4'],
  ['a path without the slash in front', { inputPath: '/a.mp4' }, undefined, 'a.mp4'],
  ['the payload of thumbnails before the row', { key: 'a.jpg' }, row, 'a.jpg'],
  ['s3Key before the other names', { s3Key: 'a.jpg', inputPath: 'b.jpg', key: 'c.jpg' }, row, 'a.jpg'],
  ['the row where the payload has none', {}, row, 'row.jpg'],
];
for (const [name, payload, media, key] of cases) test(name, () => assert.equal(keyOf(payload, media), key));

for (const media of [undefined, { source_key: null }])
  test(`neither the payload nor ${media ? 'the row' : 'a row'}: source_key_missing`, () => {
    assert.throws(() => keyOf({}, media), { name: 'PermanentError', code: 'source_key_missing' });
  });

suite('an original in a folder', () => {
  let dir: string;
  let app: App;
  let original: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'original-'));
    app = createApp(loadConfig({ DATA_DIR: dir }), 'postgres://localhost:1/none', silent);
    await mkdir(join(dir, 'storage'));
    original = join(dir, 'storage/a.mp4');
  });
  after(async () => {
    await app.close();
    await rm(dir, { recursive: true });
  });

  let copies = 0;
  const { signal } = new AbortController();
  async function processed(work: (path: string) => Promise<{ made: string }>) {
    await writeFile(original, 'part');
    const path = join(dir, `copy-${copies++}`);
    return withOriginal(app, 'a.mp4', { path, signal }, () => work(path));
  }
  const growing = { name: 'RetryableError', code: 'original_changed' };
  const cut = () => Promise.reject(new PermanentError('media_truncated', 'It ends in the middle'));

  test('is handed over', async () => {
    const { made, sha256 } = await processed(async (path) => ({ made: await readFile(path, 'utf8') }));
    assert.equal(made, 'part');
    assert.match(sha256, /^[0-9a-f]{64}$/);
  });
  test('that grew is tried again, whatever was made of its part', async () => {
    const grow = () => appendFile(original, 'more');
    await assert.rejects(
      processed(async () => (await grow(), { made: 'a video' })),
      growing,
    );
    await assert.rejects(
      processed(async () => (await grow(), cut())),
      growing,
    );
  });
  test('that grows slowly is tried again', async () => {
    const slowly = async () => {
      setTimeout(() => void appendFile(original, 'more'), 300);
      return cut();
    };
    await assert.rejects(processed(slowly), growing);
  });
  test('that stays as it is keeps its fault', () => assert.rejects(processed(cut), { code: 'media_truncated' }));
});
