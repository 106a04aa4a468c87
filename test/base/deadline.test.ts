import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
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

test('work that is done in time, while this process was busy, is not late', async () => {
  // After this, Node calls the timers that are due, and then reads what has come.
  await setImmediate();
  const done = within(50, stat(import.meta.filename));
  const end = performance.now() + 300;
  while (performance.now() < end);
  assert.ok(await done);
});
