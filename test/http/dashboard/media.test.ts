import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mediaOf, mediaSection, rangeOf } from '../../../worker/http/dashboard/media.ts';

test('the files of a result are found by their keys, each once, and only what no browser runs', async () => {
  const result = {
    key: 'a/b.webp',
    bytes: 1_200,
    width: 6,
    height: 4,
    thumbnail: { key: 'a/c.webp' },
    copies: [{ key: 'a/c.webp' }, { key: 'a/d.svg' }, { key: 'a/e.html' }, { key: 7 }, { key: 'a/f.mp4' }],
  };
  const media = mediaOf(result);
  assert.deepEqual(
    media.map(({ key, name, shown }) => [key, name, shown]),
    [
      ['a/b.webp', 'result', 'picture'],
      ['a/c.webp', 'thumbnail', 'picture'],
      ['a/f.mp4', 'copies', 'video'],
    ],
  );
  const section = String(await mediaSection(media, (n) => `media/${n}`));
  assert.match(section, /<img src="media\/0"/);
  assert.match(section, /<video[^>]*src="media\/2"/);
  for (const nothing of [null, 'a.webp', [], { key: null }]) assert.deepEqual(mediaOf(nothing), []);
});

test('a player asks for parts of a file; what is no range is answered with the whole', () => {
  for (const [header, expected] of [
    ['bytes=0-', { start: 0, end: 99 }],
    ['bytes=10-19', { start: 10, end: 19 }],
    ['bytes=90-1000', { start: 90, end: 99 }],
    ['bytes=-10', { start: 90, end: 99 }],
    ['bytes=-1000', { start: 0, end: 99 }],
    ['bytes=100-', 'outside'],
    ['bytes=-0', 'outside'],
    [undefined, undefined],
    ['bytes=-', undefined],
    ['bytes=20-10', undefined],
    ['bytes=0-1,5-6', undefined],
    ['rows=0-1', undefined],
  ] as const)
    assert.deepEqual(rangeOf(header, 100), expected, header);
  assert.equal(rangeOf('bytes=0-', 0), 'outside');
});
