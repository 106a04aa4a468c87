import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { readAddress } from '../../worker/base/address.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { UsageError } from '../../worker/base/errors.ts';

// DATABASE_URL as libpq reads it.

let dir: string;
let ca: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'address-'));
  ca = join(dir, 'ca.pem');
  writeFileSync(ca, 'an authority');
});
after(() => rm(dir, { recursive: true }));

test('an address is taken apart', () => {
  const { ssl, sslmode, ...rest } = readAddress(
    'postgres://a%40b:p%2Fw@[::1]:6000/my%20db?application_name=x&schema=acme',
  );
  assert.deepEqual(rest, {
    host: '::1',
    port: 6000,
    user: 'a@b',
    password: 'p/w',
    database: 'my db',
    application_name: 'x',
    options: undefined,
    schema: 'acme',
  });
  assert.deepEqual([ssl, sslmode], [false, 'disable']);
});

test('the host may be the directory of a Unix socket, in each way that libpq writes it', () => {
  for (const url of [
    'postgres:///db?host=/var/run/postgresql',
    'postgres://me@/db?host=/var/run/postgresql',
    'postgres://me:secret@%2Fvar%2Frun%2Fpostgresql/db?sslmode=require',
  ]) {
    const { host, database, ssl } = readAddress(url);
    assert.deepEqual([host, database, ssl], ['/var/run/postgresql', 'db', false], url);
    assert.equal(loadConfig({ DATABASE_URL: url }).databaseUrl, url);
  }
});

suite('each sslmode', () => {
  const tls = (params: string) => readAddress(`postgres://h/db?${params}`).ssl;

  test('disable and none: not encrypted', () => {
    assert.equal(tls('sslmode=disable'), false);
    assert.equal(tls(''), false);
  });

  test('allow, prefer, require: encrypted, the certificate is not looked at', () => {
    for (const mode of ['allow', 'prefer', 'require', 'no-verify'])
      assert.deepEqual(tls(`sslmode=${mode}`), { rejectUnauthorized: false });
  });

  test('require with a root certificate and verify-ca: the certificate counts, its name does not', () => {
    for (const mode of ['require', 'verify-ca']) {
      const found = tls(`sslmode=${mode}&sslrootcert=${ca}`);
      assert.ok(found);
      assert.deepEqual([found.rejectUnauthorized, found.ca], [true, 'an authority']);
      assert.equal(found.checkServerIdentity!('another', {} as never), undefined);
    }
  });

  test('verify-full: the name counts, too', () => {
    assert.deepEqual(tls('sslmode=verify-full'), { rejectUnauthorized: true });
    assert.deepEqual(tls('sslmode=verify-full&sslrootcert=system'), { rejectUnauthorized: true });
    assert.deepEqual(tls(`sslmode=verify-full&sslrootcert=${ca}`), { rejectUnauthorized: true, ca: 'an authority' });
  });
});

test('what is wrong with an address is said by name, and without its password', () => {
  for (const [url, words] of [
    ['mysql://h/db', /must start with postgres/],
    ['postgres://u:pass#word@h:x/db', /percent-encode/],
    ['postgres://h/db?sslmode=verify', /sslmode=verify is not one of disable/],
    ['postgres://h/db?sslmode=verify-ca', /needs sslrootcert/],
    ['postgres://u:sesame@h/db?sslmode=verify-ca&sslrootcert=/none/ca.pem', /sslrootcert cannot be read: ENOENT/],
  ] as const)
    assert.throws(
      () => loadConfig({ DATABASE_URL: url }),
      (error: Error) =>
        error instanceof UsageError && words.test(error.message) && !/sesame|pass#word/.test(error.message),
    );
});
