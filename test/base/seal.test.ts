import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import { inspect } from 'node:util';
import { loadConfig } from '../../worker/base/config/config.ts';
import { isSealed, keyOf, Keyring, open } from '../../worker/base/seal.ts';

const base64 = (bytes = 32) => randomBytes(bytes).toString('base64');
const [one, two] = [base64(), base64()];
const keyring = new Keyring(`one:${one},two:${two}`);
const place = { table: 'jobs', row: 'notification/17', field: 'email.to' };

test('any JSON value comes back, and two seals of it differ', () => {
  for (const value of ['', 'a@b.example', 'sealed:one:AAAA', 0, false, [1, [2]], { a: { b: 'ü\u{1f600}' } }]) {
    const text = keyring.seal(value, place);
    assert.match(text, /^sealed:one:[A-Za-z0-9+/]+=*$/);
    assert.ok(isSealed(text));
    assert.equal(keyOf(text), 'one');
    assert.deepEqual(keyring.open(text, place), value);
    assert.notEqual(keyring.seal(value, place), text);
  }
});

test('the first key seals, and each opens what it has sealed', () => {
  const text = keyring.seal('secret', place);
  const rotated = new Keyring(`two:${two},one:${one}`);
  assert.equal(rotated.active, 'two');
  assert.deepEqual(rotated.kids, ['two', 'one']);
  assert.equal(rotated.open(text, place), 'secret');
});

test('a value opens only where it was sealed', () => {
  const text = keyring.seal('secret', place);
  for (const other of [{ table: 'notifications' }, { row: 'notification/18' }, { field: 'email.cc' }])
    assert.throws(() => keyring.open(text, { ...place, ...other }), {
      name: 'PermanentError',
      code: 'sealed_elsewhere',
      message: /has a value that was sealed for another row or field/,
    });
});

test('a damaged value does not open, whichever byte it is', () => {
  const text = keyring.seal('secret', place);
  const bytes = Buffer.from(text.slice('sealed:one:'.length), 'base64');
  for (let at = 0; at < bytes.length; at++) {
    const damaged = Buffer.from(bytes);
    damaged[at]! ^= 1;
    assert.throws(() => keyring.open(`sealed:one:${damaged.toString('base64')}`, place), {
      name: 'PermanentError',
      code: at < 6 ? 'sealed_elsewhere' : 'sealed_damaged',
    });
  }
  assert.throws(() => keyring.open(text.slice(0, -4), place), { code: 'sealed_damaged' });
  // Another key of the same name.
  assert.throws(() => new Keyring(`one:${two}`).open(text, place), { code: 'sealed_damaged' });
});

test('a value whose key is missing says which', () => {
  const text = keyring.seal('secret', place);
  const unknown = { name: 'RetryableError', code: 'seal_key_unknown' };
  const message = /^email\.to of jobs notification\/17 is sealed by key one, and SEAL_KEYS has only two$/;
  assert.throws(() => new Keyring(`two:${two}`).open(text, place), { ...unknown, message });
  assert.throws(() => open(text, place, undefined), { ...unknown, message: /and SEAL_KEYS is not set$/ });
  assert.throws(() => open('sealed:removed', place, keyring), { code: 'sensitive_removed' });
});

test('what only looks like a sealed value is none', () => {
  for (const value of ['sealed: bids', 'sealed:one:AAAA', ` ${keyring.seal(1, place)}`, 17, null, undefined])
    assert.equal(isSealed(value), false, String(value));
});

suite('SEAL_KEYS', () => {
  test('is optional, and its keys are secrets, together and alone', () => {
    assert.equal(loadConfig({}).keyring, undefined);
    const { keyring: read, secrets } = loadConfig({ SEAL_KEYS: `one:${one}, two:${two}` });
    assert.equal(read?.active, 'one');
    assert.deepEqual(secrets, [`one:${one}, two:${two}`, one, two]);
    assert.doesNotMatch(
      JSON.stringify(read) + inspect(read, { showHidden: true }),
      new RegExp(`${one.slice(0, 8)}|[Bb]uffer`),
    );
  });

  for (const [what, value] of [
    ['a short key', `one:${base64(16)}`],
    ['a key without an id', one],
    ['an empty one', `one:${one},`],
    ['no base64', `one:${one.slice(0, -1)}!`],
    ['an id with a colon', `o:ne:${one}`],
    ['two of one id', `one:${one},one:${two}`],
  ] as const)
    test(`with ${what} is a fault, which does not repeat it`, () => {
      assert.throws(
        () => loadConfig({ SEAL_KEYS: value }),
        ({ message }: Error) => message.includes('SEAL_KEYS: ') && ![one, two].some((key) => message.includes(key)),
      );
    });
});
