import assert from 'node:assert/strict';
import { test } from 'node:test';
import { redactor } from '../../worker/base/log.ts';

// What a server may echo of a request's headers, in its own way.

const secrets = ['Pa$$w/rd+ü=9 x', 'canary-token-41d5', 'abcd', 'p&s<w"o\\r/é'];
const redact = redactor(secrets);
const base64 = (text: string) => Buffer.from(text).toString('base64');

const escapes = (text: string, escape: (code: number) => string) =>
  text.replace(/[^\w-]/g, (character) => escape(character.charCodeAt(0)));

for (const [how, echo] of [
  ['as it is', (secret: string) => secret],
  ['in another case', (secret: string) => secret.toUpperCase()],
  ['percent-encoded', encodeURIComponent],
  ['percent-encoded in part, in small letters', (secret: string) => encodeURI(secret).toLowerCase()],
  ['percent-encoded twice', (secret: string) => encodeURIComponent(encodeURIComponent(secret))],
  ['as JSON has it', (secret: string) => JSON.stringify(secret).slice(1, -1)],
  ['as JSON in JSON has it', (secret: string) => JSON.stringify(JSON.stringify(secret)).slice(3, -3)],
  [
    'as JSON has it that escapes more',
    (secret: string) => escapes(secret, (code) => `\\u${code.toString(16).padStart(4, '0')}`),
  ],
  [
    'as JSON has it that escapes slashes',
    (secret: string) => JSON.stringify(secret).slice(1, -1).replaceAll('/', '\\/'),
  ],
  [
    'as XML has it',
    (secret: string) => secret.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;'),
  ],
  ['as XML has it by numbers', (secret: string) => escapes(secret, (code) => `&#${code};`)],
  ['as XML has it by hexadecimal numbers', (secret: string) => escapes(secret, (code) => `&#x${code.toString(16)};`)],
  ['as a form has it', (secret: string) => encodeURIComponent(secret).replaceAll('%20', '+')],
  ['in hexadecimal', (secret: string) => Buffer.from(secret).toString('hex').toUpperCase()],
] as const)
  test(`a secret is cut out ${how}`, () => {
    for (const secret of secrets)
      assert.equal(
        redact(`x: 1\r\nauthorization: Bearer ${echo(secret)}\r\ny`),
        'x: 1\r\nauthorization: Bearer [redacted]\r\ny',
      );
  });

test('a secret is cut out of base64, wherever it begins in it, in both alphabets', () => {
  for (const secret of secrets.slice(0, 2))
    for (const before of ['', 'a', 'ab', 'user:', 'Bearer '])
      for (const behind of ['', '\n', '; 1', 'abc'])
        for (const text of [
          base64(before + secret + behind),
          base64(before + secret + behind)
            .replaceAll('+', '-')
            .replaceAll('/', '_'),
        ]) {
          const said = redact(`authorization: Basic ${text}`);
          assert.match(said, /\[redacted\]/);
          // What is left of it tells two bytes at most at either end.
          const left = said.replace('authorization: Basic ', '').split('[redacted]');
          const bytes = Math.ceil((before.length * 4) / 3) + Math.ceil((Buffer.byteLength(behind) * 4) / 3) + 8;
          assert.ok(left.join('').length <= bytes, `${said} for ${JSON.stringify([before, secret, behind])}`);
        }
});

test('in whatever order headers come, and however often', () => {
  const headers = [`authorization: Bearer ${secrets[1]}`, `x-key: ${secrets[0]}`, `cookie: ${base64(secrets[1]!)}`];
  for (const order of [headers, headers.toReversed()])
    assert.doesNotMatch(redact([...order, ...order].join('\n')), /canary|Pa\$\$|Y2FuYXJ5/);
});

test('texts without a secret stay as they are', () => {
  for (const text of ['', 'RAID answered 503', 'a b c d', '100 %', '\\u0000 [x] (y) $&'])
    assert.equal(redact(text), text);
  assert.equal(redactor([])('as it is'), 'as it is');
});
