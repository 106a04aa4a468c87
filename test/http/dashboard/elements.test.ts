import assert from 'node:assert/strict';
import { test } from 'node:test';
import { html } from 'hono/html';
import { count, duration, elapsed, number, size, state, time } from '../../../worker/http/dashboard/elements.ts';

test('numbers, sizes and times are as people say them', async () => {
  assert.deepEqual([0.01, 0.24, 9.96, 59.9, 60, 3_599, 7_200, 172_800].map(duration), [
    '0 s',
    '0.2 s',
    '10.0 s',
    '59 s',
    '1 min',
    '59 min',
    '2 h',
    '2 d',
  ]);
  assert.deepEqual([0.2, 4.4, 999.4, 999.6, 61_000].map(elapsed), ['0 ms', '4 ms', '999 ms', '1.0 s', '1 min']);
  assert.deepEqual(
    [number(61_340), number(9_007_199_254_740_993n), count(1, 'job'), count(0, 'job')],
    ['61,340', '9,007,199,254,740,993', '1 job', '0 jobs'],
  );
  assert.deepEqual([999, 12_345, 1_234_567].map(size), ['999 B', '12 kB', '1.2 MB']);
  assert.match((await time(new Date(Date.now() - 120_000))).toString(), />2 min ago</);
  assert.deepEqual([time(null), time(new Date(8.64e15)), time(new Date(-8.64e15))], ['–', 'never', 'at once']);
});

test('no text gets into a page as HTML', async () => {
  assert.equal(String(await html`<p title="${'"><b>'}">${state('<script>')}</p>`).includes('<script>'), false);
});
