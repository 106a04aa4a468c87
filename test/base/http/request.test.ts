import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTcp, type AddressInfo } from 'node:net';
import { after, before, suite, test, type TestContext } from 'node:test';
import { DeploymentError, RetryableError, UnknownOutcome } from '../../../worker/base/errors.ts';
import { request, type RequestOptions } from '../../../worker/base/http/request.ts';

// What is known of a request that may have done something.

const service = {
  code: 'shop',
  name: 'The shop',
  dependency: 'shop',
  settings: { address: 'SHOP_URL', secret: 'SHOP_SECRET' },
};

let url: URL;
let answer: RequestListener = () => {};
const server = createServer((asked, response) => answer(asked, response));
before(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/send?key=hush`);
});
after(() => {
  server.closeAllConnections();
  server.close();
});

const post = (options: Partial<RequestOptions> = {}, to = url) =>
  request(to, {
    service,
    method: 'POST',
    body: '{"text":"é"}',
    timeoutMs: 20_000,
    signal: new AbortController().signal,
    ...options,
  });

test('gives the answer, whatever its status, and follows no redirect', async () => {
  let body = '';
  answer = (asked, response) => {
    asked.on('data', (chunk) => (body += chunk));
    asked.on('end', () => response.writeHead(307, { location: '/elsewhere' }).end('there'));
  };
  const { status, headers, text, truncated } = await post({ headers: { 'content-type': 'application/json' } });
  assert.deepEqual([status, headers.location, text, truncated], [307, '/elsewhere', 'there', false]);
  assert.equal(body, '{"text":"é"}');
});

suite('an answer that is too large, or breaks off, is cut: its status holds', () => {
  const bodies: Record<string, RequestListener> = {
    'too large': (_, response) => response.writeHead(202).end('x'.repeat(100_000)),
    'broken off': (_, response) => {
      response.writeHead(202, { 'content-length': 100 }).write('x'.repeat(10), () => response.destroy());
    },
  };
  for (const [what, listener] of Object.entries(bodies))
    test(what, async () => {
      answer = listener;
      const { status, text, truncated } = await post({ maxBytes: 10 });
      assert.deepEqual([status, text, truncated], [202, 'x'.repeat(10), true]);
    });
});

suite('after it was sent, nobody knows', () => {
  const unknown = (error: Error) => {
    assert.ok(error instanceof UnknownOutcome, String(error));
    assert.doesNotMatch(error.message, /hush/);
    return true;
  };
  test('the connection is reset', async () => {
    answer = (asked) => asked.socket.resetAndDestroy();
    await assert.rejects(post(), unknown);
  });
  test('no answer comes in time', async () => {
    answer = () => {};
    await assert.rejects(post({ timeoutMs: 300 }), unknown);
  });
  test('it is stopped', async () => {
    const stop = new AbortController();
    answer = () => stop.abort(new Error('stopped'));
    await assert.rejects(post({ signal: stop.signal }), unknown);
  });
});

suite('before that, it certainly did nothing', () => {
  test('nobody listens', () =>
    assert.rejects(post({}, new URL('http://127.0.0.1:1/')), (error: Error & { code: string }) => {
      assert.ok(error instanceof DeploymentError);
      assert.equal(error.code, 'shop_unavailable');
      return true;
    }));

  /** Takes the connection, and never begins TLS. */
  const startMute = async (t: TestContext, onConnection: (end: () => void) => void = () => {}) => {
    const mute = createTcp((socket) => onConnection(() => socket.destroy()));
    mute.listen(0, '127.0.0.1');
    await once(mute, 'listening');
    const { port } = mute.address() as AddressInfo;
    t.after(() => void mute.close());
    return { to: new URL(`https://127.0.0.1:${port}/`) };
  };

  test('TLS does not begin', async (t) => {
    const { to } = await startMute(t, (end) => end());
    await assert.rejects(post({}, to), RetryableError);
  });
  test('it takes too long until then', async (t) => {
    const { to } = await startMute(t);
    await assert.rejects(post({ timeoutMs: 200 }, to), (error: Error & { code: string }) => {
      assert.ok(error instanceof RetryableError);
      assert.equal(error.code, 'shop_timeout');
      return true;
    });
  });
  test('it is stopped', async (t) => {
    const stop = new AbortController();
    const { to } = await startMute(t, () => stop.abort(new Error('stopped')));
    await assert.rejects(post({ signal: stop.signal }, to), { message: 'stopped' });
  });
});
