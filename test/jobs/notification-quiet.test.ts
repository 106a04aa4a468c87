import assert from 'node:assert/strict';
import { test } from 'node:test';
import { quietFor } from '../../worker/jobs/notification/delivery/quiet.ts';

test('quiet hours end when the clock on the wall says so, also where it is changed meanwhile', () => {
  const hours = (from: string, to: string, timeZone: string, now: string) =>
    quietFor({ from, to, timeZone }, new Date(now)) / 3_600_000;
  const cases: [now: string, wait: number][] = [
    ['2026-11-30T12:00:00Z', 0],
    ['2026-11-30T21:00:00Z', 9],
    ['2026-11-30T05:30:00Z', 0.5],
    ['2026-11-30T06:00:00Z', 0],
    // The nights in which the clocks go forward, and back.
    ['2026-03-28T22:00:00Z', 7],
    ['2026-10-24T21:00:00Z', 9],
  ];
  for (const [now, wait] of cases) assert.equal(hours('22:00', '07:00', 'Europe/Berlin', now), wait, now);
  assert.equal(hours('09:00', '17:00', 'Asia/Kathmandu', '2026-11-30T04:15:00Z'), 7);
  // 02:30 does not exist in this night.
  assert.ok(hours('22:00', '02:30', 'Europe/Berlin', '2026-03-29T00:30:00Z') > 0);
});
