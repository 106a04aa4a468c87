import assert from 'node:assert/strict';
import { test } from 'node:test';
import { within } from '../../worker/base/deadline.ts';

test('work that ends in time gives its result, or throws', async () => {
  assert.equal(await within(10_000, Promise.resolve('done')), 'done');
  await assert.rejects(within(10_000, Promise.reject(new Error('broken'))), /broken/);
});

test('work that is late gives nothing, and what it throws then is ignored', async () => {
  const late = Promise.withResolvers<string>();
  assert.equal(await within(1, late.promise), undefined);
  late.reject(new Error('too late to matter'));
});
