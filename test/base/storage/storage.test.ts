import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { CreateBucketCommand, DeleteBucketCommand } from '@aws-sdk/client-s3';
import type { S3Config } from '../../../worker/base/config/storage.ts';
import { createStorage } from '../../../worker/base/storage/create.ts';
import { createClient } from '../../../worker/base/storage/s3-client.ts';
import { S3Storage } from '../../../worker/base/storage/s3.ts';
import type { Storage } from '../../../worker/base/storage/storage.ts';
import { startS3Server } from '../../support/s3-server.ts';
import { listed, storageContract } from '../../support/storage-contract.ts';

/** So that a file of 25 MB goes up in parts, as one of 250 MB does by default. */
const smallParts = { multipartBytes: 8_000_000, partBytes: 5 * 1024 * 1024 };

storageContract('A local folder', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-storage-'));
  return {
    storage: createStorage({ provider: 'local', dir }),
    ordered: true,
    close: () => rm(dir, { recursive: true }),
  };
});

storageContract('S3', async () => {
  const s3 = await startS3Server();
  return { storage: new S3Storage(s3.config, smallParts), ordered: false, close: () => s3.close() };
});

const { RGW_ENDPOINT, RGW_ACCESS_KEY, RGW_SECRET_KEY } = process.env;
if (RGW_ENDPOINT && RGW_ACCESS_KEY && RGW_SECRET_KEY) {
  storageContract('Ceph RGW', async () => {
    const config: S3Config = {
      provider: 's3',
      endpoint: RGW_ENDPOINT,
      bucket: `rowmill-${randomUUID()}`,
      region: 'us-east-1',
      credentials: { accessKeyId: RGW_ACCESS_KEY, secretAccessKey: RGW_SECRET_KEY },
      pathStyle: true,
    };
    const client = createClient(config, { connectMs: 5_000, idleMs: 30_000 });
    await client.send(new CreateBucketCommand({ Bucket: config.bucket }));
    const storage = new S3Storage(config, smallParts);
    const close = async () => {
      await storage.delete((await listed(storage.list(''))).map(({ key }) => key));
      await client.send(new DeleteBucketCommand({ Bucket: config.bucket }));
    };
    return { storage, ordered: true, close };
  });
} else {
  console.log(
    'Ceph RGW is left out: RGW_ENDPOINT, RGW_ACCESS_KEY and RGW_SECRET_KEY are not set (.ci/radosgw starts one)',
  );
}

describe('A local folder, being one', () => {
  let parent: string;
  let dir: string;
  let storage: Storage;
  before(async () => {
    parent = await mkdtemp(join(tmpdir(), 'rowmill-storage-'));
    dir = join(parent, 'storage');
    storage = createStorage({ provider: 'local', dir });
  });
  after(() => rm(parent, { recursive: true }));
  const put = (key: string, body: string) => storage.put(key, Buffer.from(body), { contentType: 'text/plain' });

  it('is empty before it exists', async () => {
    assert.deepEqual(await listed(storage.list('')), []);
    assert.equal(await storage.head('a.txt'), undefined);
    assert.deepEqual(await storage.delete(['a.txt']), []);
    await assert.rejects(readdir(dir), { code: 'ENOENT' });
  });

  it('keeps no folder that is empty, also while others are put into it', async () => {
    await Promise.all(['a/b/c.txt', 'a/d.txt', 'e/f.txt'].map((key) => put(key, 'x')));
    await storage.delete(['a/b/c.txt', 'e/f.txt']);
    assert.deepEqual((await readdir(dir, { recursive: true })).filter((name) => !name.startsWith('.')).toSorted(), [
      'a',
      'a/d.txt',
    ]);
    for (let n = 0; n < 100; n++)
      await Promise.all([storage.delete(['a/d.txt']), put('a/b/new.txt', 'x'), storage.delete(['a/b/new.txt'])]);
    await storage.delete(['a/b/new.txt']);
    assert.deepEqual(
      (await readdir(dir)).filter((name) => !name.startsWith('.')),
      [],
    );
  });

  it('lists what is below a prefix, and nothing by way of dots', async () => {
    await Promise.all(['p/q/r.txt', 'p/q2.txt', 'p/s/t.txt'].map((key) => put(key, 'x')));
    await writeFile(join(parent, 'beside.txt'), 'x');
    const keysUnder = async (prefix: string) => (await listed(storage.list(prefix))).map(({ key }) => key);
    assert.deepEqual(await keysUnder('p/q'), ['p/q/r.txt', 'p/q2.txt']);
    assert.deepEqual(await keysUnder('p/q/'), ['p/q/r.txt']);
    for (const prefix of ['../../', 'p/../', './p/', '/p/', 'p//q/', 'p/q2.txt/', 'none/', '.incoming/'])
      assert.deepEqual(await keysUnder(prefix), [], prefix);
    await storage.delete(['p/q/r.txt', 'p/q2.txt', 'p/s/t.txt']);
  });

  it('does not follow symbolic links that lead out of it', async () => {
    const outside = join(parent, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'secret.txt'), 'secret');
    await put('inside/a.txt', 'inside');
    await symlink(outside, join(dir, 'folder'));
    await symlink(join(outside, 'secret.txt'), join(dir, 'file.txt'));
    await symlink(join(outside, 'not-yet.txt'), join(dir, 'dangling.txt'));
    await symlink(join(dir, 'inside'), join(dir, 'within'));

    const invalid = { name: 'PermanentError', code: 'invalid_storage_key' };
    for (const key of ['folder/secret.txt', 'folder/new.txt', 'folder/new/new.txt', 'file.txt']) {
      await assert.rejects(put(key, 'overwritten'), invalid, key);
      await assert.rejects(storage.get(key), invalid, key);
      assert.deepEqual(
        (await storage.delete([key])).map(({ error_code }) => error_code),
        ['invalid_storage_key'],
        key,
      );
    }
    await put('dangling.txt', 'replaces the link');
    assert.deepEqual(await readdir(outside), ['secret.txt']);
    assert.equal(await readFile(join(outside, 'secret.txt'), 'utf8'), 'secret');
    assert.equal(await text(await storage.get('within/a.txt')), 'inside');
    assert.deepEqual(
      (await listed(storage.list(''))).map(({ key }) => key),
      ['dangling.txt', 'inside/a.txt'],
    );
  });

  it('neither lists nor keeps a file that is not whole', async () => {
    await mkdir(join(dir, '.incoming'), { recursive: true });
    await writeFile(join(dir, '.incoming', 'left-by-a-crash'), 'half');
    const objects = await listed(storage.list(''));
    assert.deepEqual(
      objects.filter(({ key }) => key.includes('incoming')),
      [],
    );
    await rm(join(dir, '.incoming', 'left-by-a-crash'));
    await assert.rejects(storage.put('b.txt', { path: parent }, { contentType: 'text/plain' }), { code: 'EISDIR' });
    assert.deepEqual(await readdir(join(dir, '.incoming')), []);
  });

  it('says so when a file would have to be a folder as well', async () => {
    await put('taken', 'x');
    await put('folder-of/x', 'x');
    const inTheWay = { name: 'PermanentError', code: 'invalid_storage_key', message: /another object/ };
    await assert.rejects(put('taken/x', 'x'), inTheWay);
    await assert.rejects(put('folder-of', 'x'), inTheWay);
    assert.equal(await storage.head('taken/x'), undefined);
    assert.equal(await storage.head('folder-of'), undefined);
    await assert.rejects(storage.get('folder-of'), { code: 'object_not_found' });
    assert.deepEqual(await storage.delete(['taken/x', 'folder-of']), []);
    assert.deepEqual(await readdir(join(dir, '.incoming')), []);
  });

  it('has addresses on the public host where there is one, and in the file system where not', () => {
    const withCdn = createStorage({ provider: 'local', dir, publicBaseUrl: 'https://cdn.example/files' });
    assert.equal(withCdn.url('a b/ü+%.webp'), 'https://cdn.example/files/a%20b/%C3%BC%2B%25.webp');
    assert.equal(storage.url('a b/c.webp'), `file://${dir}/a%20b/c.webp`);
  });
});
