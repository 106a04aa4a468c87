import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createStorage } from '../../worker/base/storage/create.ts';
import type { Storage } from '../../worker/base/storage/storage.ts';
import { type AskedRequest, type S3Server, startS3Server } from './s3-server.ts';

describe('The S3 server of the tests', () => {
  let s3: S3Server;
  let storage: Storage;
  before(async () => {
    s3 = await startS3Server();
    storage = createStorage(s3.config);
    await put('there.txt', 'it is there');
  });
  after(() => s3.close());

  const put = (key: string, body: string) => storage.put(key, Buffer.from(body), { contentType: 'text/plain' });

  /** The status and, where it is an error, S3's code for it. */
  const answerTo = async (address: string, init?: RequestInit) => {
    const response = await fetch(address, init);
    return [response.status, /<Code>(\w+)/.exec(await response.text())?.[1]];
  };

  /** Sends a request again that the storage has signed, with some of it changed. */
  const again = async (
    { method, url, headers, body }: AskedRequest,
    changed: Record<string, string>,
    text?: string,
  ) => {
    const { host: _, connection: __, 'content-length': ___, ...sent } = headers as Record<string, string>;
    const init = { method, headers: { ...sent, ...changed }, body: text ?? body.toString() };
    return answerTo(s3.config.endpoint + url, init);
  };

  it('is the same as configuration and as environment', () => {
    assert.deepEqual(loadConfig(s3.env).storage, s3.config);
  });

  it('serves what is signed, and not what was changed since, has expired, or was never signed', async () => {
    await put('other.txt', 'other');
    const signed = await storage.presign('there.txt', 60);
    const short = await storage.presign('there.txt', 1);
    assert.deepEqual(await answerTo(signed), [200, undefined]);
    const mismatch = [403, 'SignatureDoesNotMatch'];
    assert.deepEqual(await answerTo(signed.replace('there.txt', 'other.txt')), mismatch);
    assert.deepEqual(await answerTo(signed.replace('X-Amz-Expires=60', 'X-Amz-Expires=6000')), mismatch);
    assert.deepEqual(await answerTo(signed, { method: 'DELETE' }), mismatch);
    assert.deepEqual(await answerTo(storage.url('there.txt')), [403, 'AccessDenied']);
    await sleep(2100);
    assert.deepEqual(await answerTo(short), [403, 'AccessDenied']);
  });

  it('takes the body and the headers that were signed, and no others', async () => {
    await put('signed.txt', 'as signed');
    const request = s3.requests.at(-1)!;
    assert.deepEqual(await again(request, {}), [200, undefined]);
    assert.deepEqual(await again(request, {}, 'tampered!'), [400, 'XAmzContentSHA256Mismatch']);
    assert.deepEqual(await again(request, { 'content-type': 'text/html' }), [403, 'SignatureDoesNotMatch']);
    assert.deepEqual(await again(request, { 'x-amz-acl': 'public-read' }), [403, 'AccessDenied']);
    assert.deepEqual(await again(request, { 'content-md5': 'wrong' }), [400, 'BadDigest']);
    assert.deepEqual(await again(request, { 'x-amz-date': '20260101T000000Z' }), [400, 'AuthorizationHeaderMalformed']);
    const anHour = new Date().getUTCHours() < 12 ? 3_600_000 : -3_600_000; // on the same day
    const skewed = new Date(Date.now() + anHour).toISOString().replaceAll(/[-:]|\.\d+/g, '');
    assert.deepEqual(await again(request, { 'x-amz-date': skewed }), [403, 'RequestTimeTooSkewed']);
  });

  it('fails as often as it is told, in the words of S3', async () => {
    s3.fail({ status: 503, code: 'SlowDown', times: 2 });
    const signed = await storage.presign('there.txt', 60);
    assert.deepEqual(await answerTo(signed), [503, 'SlowDown']);
    assert.deepEqual(await answerTo(signed), [503, 'SlowDown']);
    assert.deepEqual(await answerTo(signed), [200, undefined]);
  });

  it('says so when a body is larger than it takes', async () => {
    await assert.rejects(put('large.txt', 'x'.repeat(12_000_000)), { message: /EntityTooLarge: fauxqs takes 11 MiB/ });
  });

  it('can be stopped, and started with the same objects', async () => {
    const signed = await storage.presign('there.txt', 60);
    await s3.stop();
    await assert.rejects(fetch(signed));
    await s3.start();
    assert.deepEqual(await answerTo(signed), [200, undefined]);
  });
});
