import { createHash } from 'node:crypto';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { PermanentError, RetryableError, Snooze } from '../../../worker/base/errors.ts';
import { download, statusError, type DownloadOptions } from '../../../worker/base/http/fetch.ts';
import { eventually } from '../../support/eventually.ts';
import { startRaid, type FakeRaid, type Failure } from '../../support/raid.ts';

const exec = promisify(execFile);

const service = {
  code: 'shop',
  name: 'The shop',
  settings: { address: 'SHOP_URL', secret: 'SHOP_SECRET', limit: 'SHOP_MAX_MB', timeout: 'SHOP_TIMEOUT' },
};

describe('A download', () => {
  let server: FakeRaid;
  let dir: string;
  let to: string;
  before(async () => void (server = await startRaid()));
  after(() => server.close());
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'rowmill-fetch-'));
    to = join(dir, 'file');
  });
  afterEach(() => rm(dir, { recursive: true }));

  const get = (key: string, options: Partial<DownloadOptions> = {}, base = server.endpoint) =>
    download(new URL(`${base}?key=${key}&token=hush`), {
      service,
      to,
      headers: { authorization: `Bearer ${server.secret}` },
      maxBytes: 1_000_000,
      timeoutMs: 10_000,
      signal: new AbortController().signal,
      ...options,
    });

  /** That it fails so, says nothing secret, and leaves no file. */
  async function fails(
    promise: Promise<unknown>,
    type: new (...args: never[]) => Error,
    code: string,
    message: RegExp,
  ) {
    await assert.rejects(promise, (error: Error & { code?: string }) => {
      assert.equal(`${error.name} ${error.code}`, `${type.name} ${code}`);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /hush|raid-test-secret/);
      return true;
    });
    assert.deepEqual(await readdir(dir), [], 'no file is left');
  }
  async function failsWith(failure: Failure, ...expected: [new (...args: never[]) => Error, string, RegExp]) {
    server.fail('bad', failure);
    await fails(get('bad', { timeoutMs: 500 }), ...expected);
  }

  it('puts the bytes into a file that only its owner can read', async () => {
    server.files.set('good', Buffer.alloc(300_000, 'abc'));
    const sha256 = createHash('sha256').update(server.files.get('good')!).digest('hex');
    assert.deepEqual(await get('good'), { bytes: 300_000, sha256 });
    assert.deepEqual(await readFile(to), server.files.get('good'));
    assert.equal((await stat(to)).mode & 0o777, 0o600);
  });

  it('that fills the disk is a fault of the deployment: disk_full', async (t) => {
    if (process.getuid?.() !== 0) return t.skip('mounts a small disk');
    const small = join(dir, 'small');
    await mkdir(small);
    await exec('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', small]).catch(() => t.skip('may not mount'));
    t.after(() => exec('umount', [small]).catch(() => {}));
    server.files.set('good', Buffer.alloc(300_000));
    await assert.rejects(get('good', { to: join(small, 'file') }), {
      name: 'DeploymentError',
      dependency: 'temp_space',
      code: 'disk_full',
    });
    assert.deepEqual(await readdir(small), []);
    await exec('umount', [small]);
  });

  it('asks for bytes as they are, without compression', async () => {
    server.files.set('good', Buffer.from('x'));
    await get('good');
    assert.equal(server.requests.at(-1)!.headers['accept-encoding'], 'identity');
  });

  it('makes an empty file of an empty answer', async () => {
    server.files.set('empty', Buffer.alloc(0));
    assert.equal((await get('empty')).bytes, 0);
    assert.equal((await stat(to)).size, 0);
  });

  it('does not touch a file that is there already, and lets the socket go', async () => {
    await writeFile(to, 'mine');
    server.files.set('good', Buffer.alloc(900_000));
    await assert.rejects(get('good'), { code: 'EEXIST' });
    assert.equal(await readFile(to, 'utf8'), 'mine');
  });

  it('ends when the server is silent before the headers', () =>
    failsWith(
      { hang: 'before headers' },
      RetryableError,
      'shop_timeout',
      /The shop .* within 0\.5 s \(SHOP_TIMEOUT\)/,
    ));
  it('ends when the server is silent in the body', () =>
    failsWith({ hang: 'in the body' }, RetryableError, 'shop_timeout', /SHOP_TIMEOUT/));
  it('ends when the server drips: the deadline is on the whole', () =>
    failsWith({ drip: 20 }, RetryableError, 'shop_timeout', /SHOP_TIMEOUT/));
  it('notices a body that is shorter than announced', () =>
    failsWith({ cutAfter: 10 }, RetryableError, 'shop_truncated', /broke off in the middle/));
  it('notices a chunked body that breaks off', () =>
    failsWith({ cutAfter: 10, chunked: true }, RetryableError, 'shop_truncated', /broke off/));
  it('names a connection that is reset', () =>
    failsWith({ reset: true }, RetryableError, 'shop_unavailable', /could not be reached .*check SHOP_URL/));
  it('cuts off a body without end at the limit', () =>
    failsWith({ endless: true }, PermanentError, 'shop_too_large', /larger than 1 MB \(SHOP_MAX_MB\)/));
  it('takes no compressed body: the limit is on what is stored', () =>
    failsWith(
      { bytes: gzipSync(Buffer.alloc(5_000_000)), headers: { 'content-encoding': 'gzip' } },
      PermanentError,
      'shop_refused',
      /with content-encoding gzip, although Rowmill asked for none/,
    ));
  it('takes an answer of 101 for what it is: none', () =>
    failsWith(
      { status: 101, headers: { upgrade: 'foo', connection: 'upgrade' } },
      RetryableError,
      'shop_unavailable',
      /could not be reached/,
    ));
  it('goes to no other server', () =>
    failsWith(
      { redirect: 'http://127.0.0.1:1/pub?token=hush' },
      PermanentError,
      'shop_redirected',
      /127\.0\.0\.1:1: check SHOP_URL/,
    ));
  it('goes to no other protocol', () =>
    failsWith({ redirect: 'file:///etc/passwd' }, PermanentError, 'shop_redirected', /check SHOP_URL/));
  it('goes nowhere where the address is none', () =>
    failsWith({ redirect: 'http://' }, PermanentError, 'shop_redirected', /to nowhere/));
  it('does not go round for ever', () =>
    failsWith({ redirect: '/pub?key=bad' }, PermanentError, 'shop_redirected', /more than 3 times/));

  it('refuses by the announced length, without waiting for the body', async () => {
    server.files.set('big', Buffer.alloc(2_000_000));
    server.fail('big', { hang: 'in the body' });
    await fails(get('big'), PermanentError, 'shop_too_large', /larger than 1 MB/);
  });

  it('follows a redirect on the same server, headers and all', async () => {
    server.files.set('here', Buffer.from('found'));
    server.fail('moved', { redirect: '/pub?key=here' });
    await get('moved');
    assert.equal(await readFile(to, 'utf8'), 'found');
  });

  it('names a server that is not there', async () => {
    const gone = await startRaid();
    await gone.close();
    await fails(get('any', {}, gone.endpoint), RetryableError, 'shop_unavailable', /\(ECONNREFUSED\): check SHOP_URL/);
  });

  it('names a host that does not exist', () =>
    fails(get('any', {}, 'http://nowhere.invalid/'), RetryableError, 'shop_unavailable', /check SHOP_URL/));

  it('says nothing of a secret that cannot be sent', () =>
    fails(
      get('any', { headers: { authorization: 'Bearer hush\nhush' } }),
      RetryableError,
      'shop_unavailable',
      /ERR_INVALID_CHAR/,
    ));

  for (const [when, hang] of [
    ['before the headers', 'before headers'],
    ['in the body', 'in the body'],
  ] as const) {
    it(`stops ${when} with the caller's reason when the caller aborts`, async () => {
      const caller = new AbortController();
      const reason = new Error('shutting down');
      server.fail('slow', { hang });
      const asked = server.requests.length;
      const result = assert.rejects(get('slow', { signal: caller.signal }), (error) => error === reason);
      await eventually(() => assert.ok(server.requests.length > asked));
      setTimeout(() => caller.abort(reason), 50);
      await result;
      assert.deepEqual(await readdir(dir), []);
    });
  }

  it('does not begin when the caller has aborted already', async () => {
    const asked = server.requests.length;
    await assert.rejects(get('good', { signal: AbortSignal.abort(new Error('gone')) }), { message: 'gone' });
    assert.equal(server.requests.length, asked);
  });

  it('lets go of the connection after each of these failures', async () => {
    server.files.set('big', Buffer.alloc(5_000_000));
    server.fail('big', { hang: 'in the body' });
    server.fail('hung', { hang: 'in the body' });
    server.fail('endless', { endless: true });
    const keys = ['big', 'hung', 'endless', 'big', 'hung', 'endless'];
    await Promise.allSettled(keys.map((key, i) => get(key, { to: `${to}${i}`, timeoutMs: 300 })));
    await eventually(() => assert.equal(server.unfinished(), 0), 2000);
  });
});

describe('A status is judged', () => {
  const cases: [status: number, error: string, message: RegExp, retryAfter?: string][] = [
    [401, 'PermanentError shop_unauthorized', /^The shop answered 401: check SHOP_SECRET$/],
    [403, 'PermanentError shop_unauthorized', /check SHOP_SECRET/],
    [404, 'PermanentError shop_not_found', /answered 404/],
    [410, 'PermanentError shop_not_found', /answered 410/],
    [400, 'PermanentError shop_refused', /answered 400/],
    [422, 'PermanentError shop_refused', /answered 422/],
    [408, 'RetryableError shop_unavailable', /answered 408/],
    [425, 'RetryableError shop_unavailable', /answered 425/],
    [429, 'RetryableError shop_rate_limited', /too many requests/],
    [429, 'RetryableError shop_rate_limited', /too many requests/, 'soon'],
    [500, 'RetryableError shop_unavailable', /answered 500: check SHOP_URL/],
    [503, 'RetryableError shop_unavailable', /answered 503/, '30'],
  ];
  for (const [status, expected, message, retryAfter] of cases) {
    it(`${status}${retryAfter ? ` with Retry-After: ${retryAfter}` : ''} is a ${expected}`, () => {
      const error = judged(status, retryAfter) as Error & { code: string };
      assert.equal(`${error.name} ${error.code}`, expected);
      assert.match(error.message, message);
    });
  }

  const waits: [retryAfter: string, delayMs: number][] = [
    ['30', 30_000],
    ['0', 1000],
    ['86400', 3_600_000],
    ['Wed, 21 Oct 2015 07:28:00 GMT', 1000],
  ];
  for (const [retryAfter, delayMs] of waits) {
    it(`429 with Retry-After: ${retryAfter} waits ${delayMs / 1000} s and uses no retry`, () => {
      const error = judged(429, retryAfter);
      assert.ok(error instanceof Snooze);
      assert.equal(error.delayMs, delayMs);
    });
  }

  it('429 with Retry-After: a date waits until then', () => {
    const error = judged(429, new Date(Date.now() + 60_000).toUTCString());
    assert.ok(error instanceof Snooze && error.delayMs > 58_000 && error.delayMs <= 60_000);
  });

  const judged = (status: number, retryAfter?: string) => statusError(service, status, retryAfter);
});
