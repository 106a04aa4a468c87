import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Storage } from '../../../worker/base/storage/storage.ts';
import { outputsOf, prefixOf } from '../../../worker/media/outputs/outputs.ts';

const folder = (key: string, sha256 = 'a', recipe = {}) =>
  outputsOf({} as Storage, { key, sha256 }, recipe, { signal: new AbortController().signal, presigned: false }).folder;

test('the folder of outputs is named as the original, in characters that need no escaping anywhere', () => {
  for (const [key, tame] of [
    ['uploads/user 1/Café.jpg', 'uploads/user-1/Cafe'],
    ['%2e%2e/.hidden/$(x).jpg', '2e-2e/hidden/x-'],
    ['фото/😀.jpg', 'file/file'],
    ['a/b/c/d/e/f/g/h.mp4', 'b/c/d/e/f/g/h'],
  ] as const)
    assert.match(folder(key), new RegExp(`^processed/${tame}-[0-9a-f]{20}$`));
});

test('the same of the same original has the same folder, and nothing else has', () => {
  assert.equal(folder('a/b.jpg'), folder('a/b.jpg'));
  const all = ['uploads/фото.jpg', 'uploads/кадр.jpg', 'uploads/file.jpg', 'uploads/file.png', 'x/uploads/file.jpg'];
  const folders = [...all.map((key) => folder(key)), folder(all[0]!, 'b'), folder(all[0]!, 'a', { other: true })];
  assert.equal(new Set(folders).size, 7);
  assert.equal(new Set(all.map(prefixOf)).size, 5, 'nor does any begin as those of another original');
  assert.ok(folder(all[0]!).startsWith(prefixOf(all[0]!)));
});
