import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import http, { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { codeOf, PermanentError } from '../../../worker/base/errors.ts';
import { createGuard, type Guard } from '../../../worker/base/http/guard.ts';
import { request } from '../../../worker/base/http/request.ts';

// A request to an address that somebody else chose comes to no network of ours, however the address is written.

let asked = 0;
const servers: Server[] = [];
let port: number;

/** One port on two addresses of this machine: one that is allowed in some of the tests, and one that never is. */
before(async () => {
  port = await listen('127.0.0.1', 0);
  await listen('127.0.0.2', port);
});
after(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

async function listen(host: string, at: number): Promise<number> {
  const server = createServer((_, response) => {
    if (host === '127.0.0.1') asked++;
    response.end(host);
  });
  server.listen(at, host);
  await once(server, 'listening');
  servers.push(server);
  return (server.address() as AddressInfo).port;
}

const service = { code: 'shop', name: 'The shop', settings: { address: 'SHOP_URL', secret: 'SHOP_SECRET' } };
const ask = (url: string, guard: Guard) =>
  request(new URL(url), { service, guard, timeoutMs: 5_000, signal: new AbortController().signal });
const refuses = (url: string, guard: Guard) =>
  assert.rejects(ask(url, guard), (error) => error instanceof PermanentError && error.code === 'address_refused');

suite('an address of this machine is refused', () => {
  const spellings = [
    '127.0.0.1',
    '127.1',
    '2130706433',
    '0x7f000001',
    '017700000001',
    '0177.0.0.1',
    '127.0.0.1.',
    'localhost',
    '[::1]',
    '[::ffff:127.0.0.1]',
    '[::]',
    '0',
    '[64:ff9b::7f00:1]',
    '[2002:7f00:1::]',
  ];
  for (const host of spellings)
    test(host, async () => {
      await refuses(`http://${host}:${port}/`, createGuard({ httpsOnly: false }));
      assert.equal(asked, 0);
    });
});

test('localhost with a dot, which not each system knows', async () => {
  await assert.rejects(ask(`http://localhost.:${port}/`, createGuard({ httpsOnly: false })));
  assert.equal(asked, 0);
});

test('no network that is not public, by either of its addresses', () => {
  const { check } = createGuard({ httpsOnly: false });
  const hosts = [
    '10.0.0.1',
    '100.64.0.1',
    '169.254.169.254',
    '172.31.255.255',
    '192.168.1.1',
    '198.18.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '[fd00:ec2::254]',
    '[fe80::1]',
    '[ff02::1]',
    '[2001:db8::1]',
    '[::ffff:8.8.8.8]',
  ];
  for (const host of hosts)
    assert.throws(
      () => check(new URL(`https://${host}/`)),
      (error) => codeOf(error) === 'address_refused',
      host,
    );
  for (const host of ['8.8.8.8', '172.32.0.1', '100.128.0.1', '[2606:4700::1111]', 'shop.example'])
    check(new URL(`https://${host}/`));
});

test('only http and https, without a password; if wanted, only https', () => {
  const { check } = createGuard({ httpsOnly: false });
  const strict = createGuard({ httpsOnly: true });
  for (const url of ['ftp://shop.example', 'file:///etc/passwd', 'https://me@shop.example', 'https://:x@shop.example'])
    assert.throws(() => check(new URL(url)), /address_refused|cannot be written to/, url);
  assert.throws(() => strict.check(new URL('http://shop.example')), /does not begin with https/);
  strict.check(new URL('https://shop.example'));
});

/** A name server that gives these answers, one after the other. */
function answering(...answers: string[][]) {
  let asks = 0;
  const guard = createGuard({
    allow: ['127.0.0.2/32'],
    httpsOnly: false,
    resolve: (_name, _options, done) =>
      done(
        null,
        answers[asks++]!.map((address): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 })),
      ),
  });
  return { guard, asks: () => asks };
}

test('a name whose address changes after it was checked: the checked one is connected', async () => {
  const url = `http://rebind.example:${port}/`;
  const { guard, asks } = answering(['127.0.0.2'], ['127.0.0.1']);
  assert.equal((await ask(url, guard)).text, '127.0.0.2');
  assert.equal(asks(), 1);
  await refuses(url, guard);
  assert.equal(asked, 0);
});

test('a name of which one address is allowed and another is not', async () => {
  for (const other of ['127.0.0.1', '::ffff:127.0.0.1', 'fe80::1%lo'])
    await refuses(`http://mixed.example:${port}/`, answering(['127.0.0.2', other]).guard);
  assert.equal(asked, 0);
});

test('no connection of another request is used, which nobody checked', async () => {
  const url = `http://localhost:${port}/`;
  await new Promise((resolve) => http.get(url, (response) => response.resume().on('end', resolve)));
  asked = 0;
  await refuses(url, createGuard({ httpsOnly: false }));
  assert.equal(asked, 0);
});
