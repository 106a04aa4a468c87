import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mediaOf, mediaSection } from '../../../worker/http/dashboard/media.ts';

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
