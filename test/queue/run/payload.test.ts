import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { type } from 'arktype';
import * as v from 'valibot';
import { z } from 'zod';
import { nearest } from '../../../worker/base/nearest.ts';
import { checkPayload, parsePayload, strangeKeys } from '../../../worker/queue/payload.ts';
import { kindOf } from '../../../worker/queue/accept.ts';
import { loadRegistry, type Registry } from '../../../worker/queue/registry.ts';
import type { StandardSchema } from '../../../worker/queue/schema.ts';

let registry: Registry;
before(async () => {
  registry = await loadRegistry();
});

const kind = (payload: StandardSchema, maxValues?: number) => ({
  name: 'media.test',
  payload,
  ...(maxValues === undefined ? {} : { maxValues }),
});

test('a word that was meant is found, and none where none is near', () => {
  const words = ['s3Key', 'inputPath', 'mediaId', 'key'];
  const cases = {
    s3key: 's3Key',
    S3_KEY: 's3Key',
    'input-path': 'inputPath',
    mediaid: 'mediaId',
    kye: undefined,
    kee: 'key',
  };
  for (const [word, meant] of Object.entries(cases)) assert.equal(nearest(word, words), meant, word);
  assert.equal(nearest('s3Key'.repeat(1_000_000), words), undefined);
});

test('each kind in the box says which keys it knows, and what the services before it sent is among them', () => {
  for (const [name, definition] of registry) {
    assert.match(strangeKeys(definition, { nonsense: 1 }) ?? '', new RegExp(`^${name} knows no key "nonsense"$`));
    if (name.startsWith('media.'))
      checkPayload(definition, {
        s3Key: 'a',
        type: 'image',
        userId: 'u',
        messageId: 'm',
        originalName: 'o',
        videoId: 'v',
      });
  }
});

test('a kind that takes any key, or any value, knows no strange ones', () => {
  for (const schema of [
    z.unknown(),
    z.record(z.string(), z.unknown()),
    z.looseObject({ a: z.string() }),
    z.array(z.number()),
  ])
    assert.equal(strangeKeys(kind(schema), { b: 1 }), undefined);
  const either = z.union([z.object({ a: z.string() }), z.object({ b: z.string() })]);
  assert.equal(strangeKeys(kind(either), { a: 'x', c: 1 }), 'media.test knows no key "c" (is it b?)');
  assert.equal(strangeKeys(kind(z.object({ a: z.date() }).refine(() => true)), { a: 1 }), undefined);
  const keys = Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`${'k'.repeat(3_000)}${n}`, n]));
  assert.ok(strangeKeys(kind(z.object({})), JSON.parse('{"__proto__": 1}'))!.includes('__proto__'));
  assert.ok(strangeKeys(kind(z.object({})), keys)!.length < 500);
});

for (const [library, schema, knowsKeys] of [
  ['zod', z.object({ to: z.string(), tries: z.number().default(1) }), true],
  ['valibot', v.object({ to: v.string(), tries: v.optional(v.number(), 1) }), false],
  ['arktype', type({ to: 'string', tries: 'number = 1' }), true],
] as const)
  test(`a schema of ${library} reads a payload, and names what is wrong with it`, () => {
    assert.deepEqual(parsePayload(kind(schema), { to: 'a' }), { to: 'a', tries: 1 });
    assert.throws(() => parsePayload(kind(schema), { to: 1 }), /^PermanentError: payload\.to: /);
    const strange = knowsKeys ? 'media.test knows no key "tires" (is it tries?)' : undefined;
    assert.equal(strangeKeys(kind(schema), { to: 'a', tires: 2 }), strange);
  });

test('a schema that does not answer at once is refused', async () => {
  const later = v.objectAsync({
    to: v.pipeAsync(
      v.string(),
      v.checkAsync(() => Promise.reject(new Error('late'))),
    ),
  });
  const throws = z.string().refine(() => {
    throw new Error('broken');
  });
  for (const schema of [later, throws])
    assert.throws(
      () => parsePayload(kind(schema), schema === later ? { to: 'a' } : 'a'),
      /^PermanentError: The schema of media\.test does not answer at once: /,
    );
});

test('faults are told up to a bound, and what is too much is not looked at', () => {
  const list = kind(z.object({ tags: z.array(z.union([z.string(), z.boolean()])) }), 20_000);
  assert.throws(
    () => parsePayload(list, { tags: Array(5_000).fill(1) }),
    /^PermanentError: payload\.tags\.0: .*; and 4990 more$/s,
  );
  for (const length of [20_000, 6_000_000])
    assert.throws(() => parsePayload(list, { tags: Array(length).fill(1) }), /payload: holds more than 20000 values$/);
  const deep = (depth: number) => JSON.parse('['.repeat(depth) + ']'.repeat(depth)) as unknown;
  parsePayload(kind(z.unknown()), deep(101));
  for (const depth of [102, 1_000_000])
    assert.throws(() => parsePayload(kind(z.unknown()), deep(depth)), /payload: is nested more than 100 deep$/);
});

test('an unknown kind is answered with the one that was meant', () => {
  const said = (queue: string, name: string) => () => kindOf(registry, { queue, kind: name });
  assert.throws(said('media', 'imgae'), /No handler is named media\.imgae: is it media\.image\?$/);
  assert.throws(said('publish', 'image'), /publish\.image: is it media\.image\?$/);
  assert.throws(said('media', 'nonsense'), /No handler is named media\.nonsense$/);
});
