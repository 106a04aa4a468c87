import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import type { Config } from '../../worker/base/config/config.ts';
import { createRaid } from '../../worker/providers/raid.ts';
import { startRaid, type FakeRaid } from '../support/raid.ts';

describe('RAID', () => {
  let server: FakeRaid;
  let dir: string;
  let path: string;
  const signal = new AbortController().signal;
  before(async () => void (server = await startRaid()));
  after(() => server.close());
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'rowmill-raid-'));
    path = join(dir, 'original');
  });
  afterEach(() => rm(dir, { recursive: true }));

  const raid = (settings: Partial<NonNullable<Config['raid']>> = {}) => {
    const { endpoint, secret } = server;
    return createRaid({
      raid: { endpoint, secret, timeoutMs: 60_000, maxBytes: 1_000_000, ...settings },
      tempDir: dir,
    });
  };

  it('gives the file under a key', async () => {
    server.files.set('auctions/1.jpg', Buffer.from('picture'));
    assert.equal((await raid().download('auctions/1.jpg', path, { signal })).bytes, 7);
    assert.equal(await readFile(path, 'utf8'), 'picture');
    assert.equal(server.requests.at(-1)!.headers.authorization, 'Bearer raid-test-secret');
  });

  for (const key of ['a b+c&d=e?f#g%20h/../i', "l'été 🎉.jpg", '(*!)~']) {
    it(`sends the key ${key} as it is`, async () => {
      server.files.set(key, Buffer.from('x'));
      await raid().download(key, path, { signal });
      assert.equal(server.requests.at(-1)!.key, key);
      assert.doesNotMatch(server.requests.at(-1)!.url, /\+/);
    });
  }

  it('keeps the query that the endpoint has', async () => {
    server.files.set('k', Buffer.from('x'));
    await raid({ endpoint: `${server.endpoint}?bucket=b%2Fc&v=2` }).download('k', path, { signal });
    assert.equal(server.requests.at(-1)!.url, '/pub?bucket=b%2Fc&v=2&key=k');
  });

  it('names the settings that are missing', () =>
    assert.rejects(createRaid({ raid: undefined, tempDir: dir }).download('k', path, { signal }), {
      name: 'DeploymentError',
      code: 'raid_not_configured',
      message: /RAID_PUB_ENDPOINT and RAID_PUBLISHER_SECRET/,
    }));

  it('says which setting a wrong secret is', () =>
    assert.rejects(raid({ secret: 'wrong' }).download('k', path, { signal }), {
      name: 'DeploymentError',
      dependency: 'raid',
      code: 'raid_unauthorized',
      message: 'RAID answered 401: check RAID_PUBLISHER_SECRET',
    }));

  it('fails at once for a key that is not there', () =>
    assert.rejects(raid().download('none', path, { signal }), { name: 'PermanentError', code: 'raid_not_found' }));

  it('is asked again within its time, and then the outage is told', async () => {
    server.files.set('k', Buffer.from('x'));
    server.fail('k', { status: 503, times: 2 });
    assert.equal((await raid().download('k', path, { signal })).bytes, 1);
    // It says to come back later than the time limit, so the request is not repeated.
    server.fail('down', { status: 503, headers: { 'retry-after': '60' } });
    await assert.rejects(raid().download('down', path, { signal }), {
      name: 'RetryableError',
      code: 'raid_unavailable',
      message: /RAID answered 503: check RAID_PUB_ENDPOINT/,
    });
  });

  it('that nobody runs is a fault of the deployment, which its own check shows', async () => {
    assert.equal(await raid().check({ signal }), undefined);
    const gone = raid({ endpoint: 'http://127.0.0.1:1/pub' });
    const refused = { name: 'DeploymentError', dependency: 'raid', code: 'raid_unavailable', message: /ECONNREFUSED/ };
    await Promise.all([
      assert.rejects(gone.download('k', path, { signal }), refused),
      assert.rejects(gone.check({ signal }), refused),
    ]);
  });

  it('names the setting of the limit and of the deadline', async () => {
    server.files.set('big', Buffer.alloc(2_000_000));
    await assert.rejects(raid().download('big', path, { signal }), {
      code: 'raid_too_large',
      message: /1 MB \(RAID_MAX_MB\)/,
    });
    server.fail('slow', { hang: 'before headers' });
    const slow = raid({ timeoutMs: 100 }).download('slow', path, { signal });
    await assert.rejects(slow, { code: 'raid_timeout', message: /0\.1 s \(RAID_TIMEOUT\)/ });
    assert.deepEqual(await readdir(dir), []);
  });
});
