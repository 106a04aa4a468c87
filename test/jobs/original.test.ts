import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyOf } from '../../worker/jobs/original.ts';

// Which of several names of an original counts.

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
