import assert from 'node:assert/strict';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import type { Storage, StoredObject } from '../../worker/base/storage/storage.ts';

export type Opened = {
  storage: Storage;
  /** False for a server that lists in an order of its own, which is then not judged. */
  ordered: boolean;
  close(): Promise<void>;
};

/** What every storage promises, whatever is behind it. */
export function storageContract(subject: string, open: () => Promise<Opened>): void {
  describe(subject, () => {
    let storage: Storage;
    let ordered: boolean;
    let close: () => Promise<void>;
    let folder: string;
    before(async () => {
      ({ storage, ordered, close } = await open());
      folder = await mkdtemp(join(tmpdir(), 'rowmill-storage-'));
    });
    after(async () => {
      await rm(folder, { recursive: true });
      await close();
    });

    const put = (key: string, body: string) => storage.put(key, Buffer.from(body), { contentType: 'text/plain' });
    const keysUnder = async (prefix: string) => (await listed(storage.list(prefix))).map(({ key }) => key);

    it('gives back the bytes that were put, and what it knows about them', async () => {
      const key = `${randomUUID()}/a.webp`;
      const body = randomBytes(100_000);
      await storage.put(key, body, { contentType: 'image/webp', cacheControl: 'public, max-age=60' });
      assert.deepEqual(await buffer(await storage.get(key)), body);
      const range = { start: 99_000, end: 99_999 };
      assert.deepEqual(await buffer(await storage.get(key, { range })), body.subarray(99_000));
      const head = await storage.head(key);
      assert.deepEqual(
        { ...head, modified_at: null },
        { key, bytes: 100_000, modified_at: null, content_type: 'image/webp' },
      );
      assert.ok(Math.abs(head!.modified_at.getTime() - Date.now()) < 60_000);
    });

    it('replaces what was there', async () => {
      const key = `${randomUUID()}.txt`;
      await put(key, 'the first, which is longer');
      await put(key, 'the second');
      assert.equal(await text(await storage.get(key)), 'the second');
    });

    it('puts files of 25 MB, of one byte and of none by their path', async () => {
      for (const bytes of [25_000_000, 1, 0]) {
        const path = join(folder, `${bytes}.mp4`);
        const body = randomBytes(bytes);
        await writeFile(path, body);
        const key = `${randomUUID()}.mp4`;
        await storage.put(key, { path }, { contentType: 'video/mp4' });
        assert.equal(sha256(await buffer(await storage.get(key))), sha256(body));
        const head = await storage.head(key);
        assert.deepEqual([head?.bytes, head?.content_type], [bytes, 'video/mp4']);
      }
    });

    it('keeps the object that was there when a new one cannot be read to its end', async () => {
      const key = `${randomUUID()}/old.txt`;
      await put(key, 'old');
      await assert.rejects(storage.put(key, { path: folder }, { contentType: 'text/plain' }), { code: 'EISDIR' });
      await assert.rejects(storage.put(key, { path: join(folder, 'absent') }, { contentType: 'text/plain' }), {
        code: 'ENOENT',
      });
      assert.equal(await text(await storage.get(key)), 'old');
      assert.deepEqual(await keysUnder(key.slice(0, 37)), [key]);
    });

    it('knows an object that is not there', async () => {
      const key = `${randomUUID()}/absent.txt`;
      await assert.rejects(storage.get(key), {
        name: 'PermanentError',
        code: 'object_not_found',
        message: new RegExp(key),
      });
      assert.equal(await storage.head(key), undefined);
      assert.deepEqual(await storage.delete([key]), []);
      assert.deepEqual(await keysUnder(key), []);
    });

    it('takes keys with spaces, signs and all of Unicode', async () => {
      const prefix = `${randomUUID()}/`;
      const names = [
        'a b',
        'a+b',
        'a%20b',
        '100%',
        'q\'u"o(t)e!*',
        '#?&=;:@$,~',
        'ü/日本語',
        '🚜',
        '.hidden',
        'a..b',
        '<&>',
        '%2e%2e',
      ];
      const keys = names.map((name) => `${prefix}${name}.txt`);
      for (const key of keys) await put(key, key);
      for (const key of keys) {
        assert.equal(await text(await storage.get(key)), key);
        assert.equal((await storage.head(key))?.bytes, Buffer.byteLength(key));
        assert.equal(await textAt(await storage.presign(key, 60)), key);
      }
      assert.deepEqual((await keysUnder(prefix)).toSorted(), keys.toSorted());
      assert.deepEqual(await storage.delete(keys), []);
      assert.deepEqual(await keysUnder(prefix), []);
    });

    it('lists and deletes more than a thousand', async () => {
      const prefix = `${randomUUID()}/`;
      const keys = Array.from({ length: 1050 }, (_, n) => `${prefix}${String(n).padStart(4, '0')}.txt`);
      for (let at = 0; at < keys.length; at += 50)
        await Promise.all(keys.slice(at, at + 50).map((key) => put(key, 'x')));
      assert.deepEqual(await keysUnder(prefix), keys);
      assert.deepEqual(await storage.delete(keys), []);
      assert.deepEqual(await keysUnder(prefix), []);
    });

    it('lists by prefix, which need not end at a slash, in the order of the bytes of whole keys', async () => {
      const prefix = `${randomUUID()}/`;
      const inOrder = ['a!', 'a-b', 'a/b/c', 'a/bc', 'a0', 'ab', '\uFF01', '🚜'].map((name) => prefix + name);
      for (const key of inOrder.toReversed()) await put(key, 'x');
      const keys = await keysUnder(prefix);
      assert.deepEqual(ordered ? keys : keys.toSorted(), ordered ? inOrder : inOrder.toSorted());
      assert.deepEqual(await keysUnder(`${prefix}a/b`), [`${prefix}a/b/c`, `${prefix}a/bc`]);
      assert.deepEqual(await keysUnder(`${prefix}a/b/`), [`${prefix}a/b/c`]);
      assert.deepEqual(await keysUnder(`${prefix}z`), []);
      const [first] = await listed(storage.list(`${prefix}a!`));
      assert.deepEqual([first?.bytes, first?.modified_at instanceof Date], [1, true]);
    });

    it('refuses keys that could lead elsewhere or that some storage could not keep', async () => {
      const invalid = { name: 'PermanentError', code: 'invalid_storage_key' };
      for (const key of invalidKeys) {
        await assert.rejects(put(key, 'x'), invalid, JSON.stringify(key));
        await assert.rejects(storage.get(key), invalid);
        await assert.rejects(storage.head(key), invalid);
        await assert.rejects(storage.presign(key, 60), invalid);
        assert.throws(() => storage.url(key), invalid);
      }
      await put('valid.txt', 'x');
      const failures = await storage.delete([...invalidKeys, 'valid.txt']);
      assert.deepEqual(
        failures.map(({ key }) => key),
        invalidKeys,
      );
      assert.deepEqual(new Set(failures.map(({ error_code }) => error_code)), new Set(['invalid_storage_key']));
      assert.equal(await storage.head('valid.txt'), undefined);
      assert.deepEqual(await keysUnder('../'), []);
    });

    it("stops with the signal's own reason", async () => {
      const key = `${randomUUID()}/large.bin`;
      const path = join(folder, 'large.bin');
      await writeFile(path, randomBytes(6_000_000));
      await storage.put(key, { path }, { contentType: 'application/octet-stream' });
      const reason = new Error('cancelled by test');
      const signal = AbortSignal.abort(reason);
      await assert.rejects(storage.put(`${key}2`, { path }, { contentType: 'text/plain', signal }), reason);
      await assert.rejects(storage.put(`${key}2`, Buffer.from('x'), { contentType: 'text/plain', signal }), reason);
      await assert.rejects(storage.get(key, { signal }), reason);
      await assert.rejects(storage.head(key, { signal }), reason);
      await assert.rejects(storage.delete([key], { signal }), reason);
      await assert.rejects(listed(storage.list('', { signal })), reason);
      await assert.rejects(storage.check({ signal }), reason);
      assert.deepEqual(await keysUnder(key), [key]);

      const midway = new AbortController();
      const stream = await storage.get(key, { signal: midway.signal });
      stream.once('data', () => midway.abort(reason));
      await assert.rejects(buffer(stream), reason);
    });

    it('signs an address for a second to a week', async () => {
      const key = `${randomUUID()}.txt`;
      await put(key, 'signed');
      assert.equal(await textAt(await storage.presign(key, 604_800)), 'signed');
      for (const seconds of [0, -1, 1.5, NaN, 604_801]) await assert.rejects(storage.presign(key, seconds), RangeError);
    });

    it('checks by writing, reading and deleting, and leaves nothing behind', async () => {
      await storage.check();
      assert.deepEqual(await keysUnder('rowmill-check/'), []);
    });
  });
}

const invalidKeys = [
  '',
  '/',
  '/etc/passwd',
  'a/',
  'a//b',
  '.',
  '..',
  '../a',
  'a/../b',
  'a/./b',
  'a/..',
  '..\\a',
  'a\\b',
  'nul\0byte',
  'line\nbreak',
  '\x7f',
  '\ud800',
  'x'.repeat(251),
  'é'.repeat(126),
  Array(9).fill('x'.repeat(120)).join('/'),
  '.incoming',
  '.incoming/a',
];

const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

export async function listed(objects: AsyncIterable<StoredObject>): Promise<StoredObject[]> {
  const result: StoredObject[] = [];
  for await (const object of objects) result.push(object);
  return result;
}

async function textAt(address: string): Promise<string> {
  if (address.startsWith('file:')) return readFile(new URL(address), 'utf8');
  return (await fetch(address)).text();
}
