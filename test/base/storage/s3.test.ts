import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { after, afterEach, before, describe, it } from 'node:test';
import { inspect } from 'node:util';
import { codeOf, messageOf } from '../../../worker/base/errors.ts';
import { createStorage } from '../../../worker/base/storage/create.ts';
import { download } from '../../../worker/base/storage/download.ts';
import { S3Storage } from '../../../worker/base/storage/s3.ts';
import type { Storage } from '../../../worker/base/storage/storage.ts';
import { eventually } from '../../support/eventually.ts';
import { slowIf } from '../../support/everything.ts';
import { type Failure, type S3Server, s3Failures, startS3Server } from '../../support/s3-server.ts';
import { listed } from '../../support/storage-contract.ts';

/** What Backblaze B2 says. */
const storageCap = {
  status: 403,
  code: 'AccessDenied',
  message: 'Cannot upload files, storage cap exceeded. See the Caps & Alerts page to increase your cap.',
};
const textType = { contentType: 'text/plain' };
const patience = { tries: 3, waitMs: 1, budgetMs: 5_000 };
/** Gives up soon on an answer that does not come, and asks often: a busy machine may be slow more than once. */
const hurried = {
  multipartBytes: 6_000_000,
  partBytes: 5 * 1024 * 1024,
  patience: { tries: 30, waitMs: 1, budgetMs: 120_000 },
  connectMs: 1_000,
  idleMs: 1_000,
};
const smallParts = { multipartBytes: 6_000_000, partBytes: 5 * 1024 * 1024, patience };

let s3: S3Server;
let storage: Storage;
let folder: string;
let largeFile: { path: string };
before(async () => {
  s3 = await startS3Server();
  storage = new S3Storage(s3.config, smallParts);
  folder = await mkdtemp(join(tmpdir(), 'rowmill-s3-'));
  largeFile = { path: join(folder, 'large.bin') };
  await writeFile(largeFile.path, randomBytes(25_000_000));
  await storage.put('there.txt', Buffer.from('it is there'), textType);
});
afterEach(() => {
  s3.heal();
  s3.requests.length = 0;
});
after(async () => {
  await rm(folder, { recursive: true });
  await s3.close();
});

/** Every method that asks the server something. */
const methods = (on: Storage): Record<string, () => Promise<unknown>> => ({
  'put of bytes': () => on.put('new.txt', Buffer.from('x'), textType),
  'put of a file': () => on.put('new.bin', { path: join(import.meta.dirname, 's3.test.ts') }, textType),
  'put in parts': () => on.put('large.bin', largeFile, textType),
  get: async () => text(await on.get('there.txt')),
  head: () => on.head('there.txt'),
  delete: () => on.delete(['new.txt']),
  list: () => listed(on.list('')),
  check: () => on.check(),
});

/** Neither message nor what an unwary `console.log` would print may hold what lets somebody in. */
function assertNamed(error: unknown, name: string, code: string): true {
  assert.deepEqual([(error as Error).name, codeOf(error)], [name, code], inspect(error));
  assert.match(messageOf(error), /"rowmill-test"|no-such-bucket/);
  assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), /canary|Signature=|X-Amz-/);
  return true;
}

describe('A failure of S3 has a name', () => {
  const table: [string, Failure, string, string][] = [
    ['denied', s3Failures.denied, 'DeploymentError', 'storage_denied'],
    ['a cap that is reached', storageCap, 'DeploymentError', 'storage_full'],
    ['a quota that is used up', { status: 403, code: 'QuotaExceeded' }, 'DeploymentError', 'storage_full'],
    ['an expired token', { status: 400, code: 'ExpiredToken' }, 'DeploymentError', 'storage_denied'],
    ['an internal error', s3Failures.internalError, 'RetryableError', 'storage_unavailable'],
    ['slow down', s3Failures.slowDown, 'RetryableError', 'storage_unavailable'],
    ['too many requests', { status: 429, code: 'TooManyRequests' }, 'RetryableError', 'storage_unavailable'],
    ['a clock that is wrong', { status: 403, code: 'RequestTimeTooSkewed' }, 'RetryableError', 'storage_unavailable'],
    [
      'a proxy in trouble',
      { status: 502, code: '', body: '<html>Bad Gateway' },
      'RetryableError',
      'storage_unavailable',
    ],
    ['a request that took too long', { status: 400, code: 'RequestTimeout' }, 'RetryableError', 'storage_timeout'],
  ];
  for (const [what, failure, name, code] of table)
    it(`${what}: ${code}`, async () => {
      s3.fail(failure);
      for (const [method, call] of Object.entries(methods(storage))) {
        // The answer to a HEAD is a status without a code.
        if (method === 'head' && failure.status < 500 && failure !== s3Failures.denied) continue;
        await assert.rejects(call(), (error) => assertNamed(error, name, code), method);
      }
    });

  it('no such bucket: storage_bucket_missing, also where the answer is a bare 404', async () => {
    const elsewhere = new S3Storage({ ...s3.config, bucket: 'no-such-bucket' }, smallParts);
    for (const [method, call] of Object.entries(methods(elsewhere)))
      await assert.rejects(call(), (error) => assertNamed(error, 'DeploymentError', 'storage_bucket_missing'), method);
  });

  it('nobody listens: storage_unavailable', async () => {
    await s3.stop();
    try {
      for (const [method, call] of Object.entries(methods(storage)))
        await assert.rejects(call(), (error) => assertNamed(error, 'DeploymentError', 'storage_unavailable'), method);
    } finally {
      await s3.start();
    }
    assert.equal(await text(await storage.get('there.txt')), 'it is there');
  });

  it('no answer: storage_timeout', async () => {
    s3.hang();
    const atOnce = { tries: 1, waitMs: 1, budgetMs: 1_000 };
    const once = new S3Storage(s3.config, { ...smallParts, connectMs: 500, idleMs: 500, patience: atOnce });
    const rejected = ([method, call]: [string, () => Promise<unknown>]) =>
      assert.rejects(call(), (error) => assertNamed(error, 'RetryableError', 'storage_timeout'), method);
    await Promise.all(Object.entries(methods(once)).map(rejected));
  });

  it('an answer that breaks off: storage_unavailable, on the stream', async () => {
    await storage.put('long.bin', randomBytes(3_000_000), textType);
    s3.truncate();
    const stream = await storage.get('long.bin');
    await assert.rejects(buffer(stream), (error) => assertNamed(error, 'RetryableError', 'storage_unavailable'));
  });

  it('keeps the words of the server', async () => {
    s3.fail(storageCap);
    await assert.rejects(storage.put('a', Buffer.from('x'), textType), {
      message: /takes no more .*storage cap exceeded/,
    });
  });

  it('is read to a bound, however long the answer is', async () => {
    s3.fail({ ...s3Failures.denied, body: `<Error><Code>AccessDenied</Code>${' '.repeat(30_000_000)}</Error>` });
    await assert.rejects(storage.put('a', Buffer.from('x'), textType), { code: 'storage_denied' });
    await assert.rejects(storage.get('there.txt'), { code: 'storage_denied' });
    await assert.rejects(storage.delete(['a']), { code: 'storage_denied' });
    assert.deepEqual(
      s3.requests.map(({ answered }) => answered()),
      [false, false, false],
    );
  });

  it('says what to fix', async () => {
    const { credentials, ...config } = s3.config;
    const messageWith = async (changed: typeof credentials) => {
      const other = createStorage({ ...config, credentials: changed });
      return other.put('a/b.txt', Buffer.from('x'), textType).then(() => '', messageOf);
    };
    const host = s3.config.endpoint.slice('http://'.length);
    assert.equal(
      await messageWith({ ...credentials, secretAccessKey: 'wrong' }),
      `writing "a/b.txt" in bucket "rowmill-test" was denied by ${host} (403 SignatureDoesNotMatch): ` +
        'the secret key does not belong to the access key id',
    );
    assert.match(await messageWith({ ...credentials, accessKeyId: 'UNKNOWN' }), /does not know the access key id$/);
    await assert.rejects(
      createStorage({ ...config, credentials: { ...credentials, secretAccessKey: 'wrong' } }).head('a'),
      {
        message: /check the access key, its secret and its rights$/,
      },
    );
    const elsewhere = createStorage({ ...s3.config, region: 'us-east-1' });
    await assert.rejects(elsewhere.check(), { code: 'storage_refused', message: /expecting 'eu-test-1'/ });
  });
});

describe('A request that may succeed is tried again', () => {
  const passing: [string, Failure][] = [
    ['500', s3Failures.internalError],
    ['503', s3Failures.slowDown],
    ['429', { status: 429, code: 'TooManyRequests' }],
    ['a reset connection', { status: 0, code: '', drop: true }],
    ['an answer that does not come', { status: 0, code: '', hang: true }],
  ];
  for (const [what, failure] of passing)
    slowIf(failure.hang)(`after ${what}: every request of every method`, async () => {
      // Each request fails the first time that a method sends it.
      const asked = new Set<string>();
      s3.fail({
        ...failure,
        when({ method, url }) {
          const request = `${method} ${url}`;
          return !asked.has(request) && Boolean(asked.add(request));
        },
      });
      const { check: _, ...others } = methods(failure.hang ? new S3Storage(s3.config, hurried) : storage);
      for (const [method, call] of Object.entries(others)) {
        asked.clear();
        await assert.doesNotReject(call(), method);
        assert.ok(asked.size > 0, `${method} was told of no failure`);
      }
      s3.heal();
      assert.equal((await storage.head('large.bin'))?.bytes, 25_000_000);
    });

  it('after the answer to a completed upload was lost', async () => {
    s3.fail({
      status: 0,
      code: '',
      drop: true,
      served: true,
      times: 1,
      when: ({ method, url }) => method === 'POST' && url.includes('uploadId'),
    });
    await storage.put('lost.bin', largeFile, textType);
    assert.equal((await storage.head('lost.bin'))?.bytes, 25_000_000);
  });

  it('after that answer was lost, and the next, whether the object is there, too', async () => {
    const lost = new Set<string>();
    s3.fail({
      status: 0,
      code: '',
      drop: true,
      served: true,
      when: ({ method, url }) =>
        (method === 'HEAD' || url.includes('uploadId')) &&
        method !== 'PUT' &&
        !lost.has(method) &&
        Boolean(lost.add(method)),
    });
    await storage.put('lost twice.bin', largeFile, textType);
    assert.deepEqual([...lost], ['POST', 'HEAD']);
    assert.equal((await storage.head('lost twice.bin'))?.bytes, 25_000_000);
  });

  it('and a list of many pages is whole', async () => {
    for (let n = 0; n < 1_050; n += 50)
      await Promise.all(
        Array.from({ length: 50 }, (_, at) =>
          storage.put(`pages/${String(n + at).padStart(4, '0')}`, Buffer.from('x'), textType),
        ),
      );
    s3.fail({ ...s3Failures.slowDown, times: 1, when: ({ url }) => url.includes('continuation-token') });
    assert.equal((await listed(storage.list('pages/'))).length, 1_050);
  });

  it('as late as the server says, within the budget, and else not at all', async () => {
    const patient = new S3Storage(s3.config, { patience: { tries: 5, waitMs: 1, budgetMs: 3_000 } });
    s3.fail({ ...s3Failures.slowDown, headers: { 'retry-after': '1' }, times: 1 });
    const began = performance.now();
    await patient.head('there.txt');
    assert.ok(performance.now() - began >= 990);
    s3.requests.length = 0;
    s3.fail({ ...s3Failures.slowDown, headers: { 'retry-after': '60' }, times: 1 });
    await assert.rejects(patient.head('there.txt'), { code: 'storage_unavailable' });
    assert.equal(s3.requests.length, 1);
  });

  it('no longer once the signal fires, with its reason, at once', async () => {
    const slow = new S3Storage(s3.config, { patience: { tries: 9, waitMs: 60_000, budgetMs: 600_000 } });
    s3.fail(s3Failures.slowDown);
    const cancel = new AbortController();
    const reason = new Error('cancelled by test');
    const call = slow.put('a', largeFile, { ...textType, signal: cancel.signal });
    setTimeout(() => cancel.abort(reason), 200);
    const began = performance.now();
    await assert.rejects(call, reason);
    assert.ok(performance.now() - began < 5_000);
  });

  it('not after a refusal', async () => {
    for (const failure of [s3Failures.denied, s3Failures.notImplemented, { status: 400, code: 'InvalidArgument' }]) {
      s3.heal();
      s3.requests.length = 0;
      s3.fail(failure);
      await assert.rejects(storage.put('a', Buffer.from('x'), textType));
      assert.equal(s3.requests.length, 1);
    }
  });
});

describe('A download', () => {
  it('begins again when the answer breaks off', async () => {
    const bytes = randomBytes(3_000_000);
    await storage.put('long.bin', bytes, textType);
    s3.truncate();
    const to = join(folder, 'downloaded');
    const done = download(storage, 'long.bin', { to, maxBytes: 1e9, signal: new AbortController().signal });
    await eventually(() => assert.ok(s3.requests.length > 1));
    s3.heal();
    assert.equal((await done).bytes, 3_000_000);
    assert.deepEqual(await readFile(to), bytes);
  });
});

describe('A server that is not AWS', () => {
  it('may leave out ETags', async () => {
    s3.omitEtag();
    await storage.put('a.txt', Buffer.from('a'), textType);
    assert.equal((await storage.head('a.txt'))?.bytes, 1);
    assert.equal(await text(await storage.get('a.txt')), 'a');
    assert.ok((await listed(storage.list(''))).some(({ key }) => key === 'a.txt'));
    await storage.check();
  });

  it('may know no checksum but MD5', async () => {
    s3.fail(s3Failures.missingContentMd5);
    await storage.put('a.txt', Buffer.from('a'), textType);
    assert.deepEqual(await storage.delete(['a.txt']), []);
    assert.equal(await storage.head('a.txt'), undefined);
    assert.deepEqual(
      s3.requests.map(({ method }) => method),
      ['PUT', 'POST', 'HEAD', 'HEAD'],
    );
    const checksums = s3.requests
      .flatMap(({ headers }) => Object.keys(headers))
      .filter((name) => name.includes('checksum'));
    assert.deepEqual(checksums, []);
  });

  it('may not know how to delete many objects at once', async () => {
    const keys = Array.from({ length: 20 }, (_, n) => `many/${n}.txt`);
    for (const key of keys) await storage.put(key, Buffer.from('x'), textType);
    s3.fail({ ...s3Failures.notImplemented, when: ({ method }) => method === 'POST' });
    s3.fail({ ...s3Failures.denied, when: ({ method, url }) => method === 'DELETE' && url.includes('/7.txt') });
    const failures = await storage.delete(keys);
    assert.deepEqual(
      failures.map(({ key, error_code }) => [key, error_code]),
      [['many/7.txt', 'storage_denied']],
    );
    assert.deepEqual(
      (await listed(storage.list('many/'))).map(({ key }) => key),
      ['many/7.txt'],
    );

    s3.fail({ ...s3Failures.slowDown, when: ({ method }) => method === 'DELETE' });
    await assert.rejects(storage.delete(['many/8.txt']), { code: 'storage_unavailable' });
  });

  it('may answer for each key of a deletion', async () => {
    const error = (key: string, code: string) =>
      `<Error><Key>${key}</Key><Code>${code}</Code><Message>.</Message></Error>`;
    const errors = error('a', 'AccessDenied') + error('b', 'InternalError') + error('c', 'NoSuchKey');
    s3.fail({ status: 200, code: '', body: `<DeleteResult>${errors}</DeleteResult>` });
    const failures = await storage.delete(['a', 'b', 'c', 'd']);
    assert.deepEqual(
      failures.map(({ key, error_code }) => [key, error_code]),
      [
        ['a', 'storage_denied'],
        ['b', 'storage_unavailable'],
      ],
    );
    assert.match(failures[0]!.error, /deleting "a" in bucket "rowmill-test" was denied/);
  });
});

describe('A large file', () => {
  const asked = () =>
    s3.requests.map(({ method, url }) => `${method} ${/uploads|partNumber|uploadId/.exec(url)?.[0] ?? ''}`);
  const parts = Array.from({ length: 5 }, () => 'PUT partNumber');

  it('goes up in parts, of which two are on their way at most', async () => {
    await storage.put('large.bin', largeFile, { contentType: 'video/mp4', cacheControl: 'no-store' });
    assert.deepEqual(asked(), ['POST uploads', ...parts, 'POST uploadId']);
    const answer = await fetch(await storage.presign('large.bin', 60));
    assert.deepEqual(
      [answer.headers.get('content-type'), answer.headers.get('cache-control')],
      ['video/mp4', 'no-store'],
    );
  });

  it('that cannot go up whole leaves nothing of itself', async () => {
    s3.fail({ ...s3Failures.slowDown, when: ({ url }) => url.includes('partNumber=2') });
    await assert.rejects(storage.put('broken.bin', largeFile, textType), { code: 'storage_unavailable' });
    assert.equal(asked().at(-1), 'DELETE uploadId');
    assert.equal(await storage.head('broken.bin'), undefined);
  });

  it('that nobody waits for any more leaves nothing of itself either', async () => {
    const reason = new Error('cancelled by test');
    const cancel = new AbortController();
    s3.fail({
      status: 500,
      code: '',
      when: ({ url }) => (url.includes('partNumber=2') && cancel.abort(reason), false),
    });
    await assert.rejects(storage.put('cancelled.bin', largeFile, { ...textType, signal: cancel.signal }), reason);
    assert.equal(asked().at(-1), 'DELETE uploadId');
    assert.ok(asked().length < 6);
  });
});

describe('The address of an object', () => {
  const key = 'a b/ü+%.webp';
  const encoded = 'a%20b/%C3%BC%2B%25.webp';
  const aws = { provider: 's3', bucket: 'pics', region: 'eu-west-1', pathStyle: false } as const;
  const table: [string, Parameters<typeof createStorage>[0], string][] = [
    ['on AWS', aws, 'https://pics.s3.eu-west-1.amazonaws.com/'],
    ['on AWS, path style', { ...aws, pathStyle: true }, 'https://s3.eu-west-1.amazonaws.com/pics/'],
    ['at an endpoint', { ...aws, endpoint: 'https://minio.example:9000' }, 'https://pics.minio.example:9000/'],
    [
      'at an endpoint, path style',
      { ...aws, endpoint: 'https://a.example', pathStyle: true },
      'https://a.example/pics/',
    ],
    ['behind a CDN', { ...aws, publicBaseUrl: 'https://cdn.example' }, 'https://cdn.example/'],
  ];
  for (const [where, config, base] of table)
    it(`is right ${where}`, () => assert.equal(createStorage(config).url(key), base + encoded));

  it('is signed for the bucket itself also behind a CDN', async () => {
    const behind = createStorage({ ...s3.config, publicBaseUrl: 'https://cdn.example' });
    assert.equal(await (await fetch(await behind.presign('there.txt', 60))).text(), 'it is there');
  });
});
