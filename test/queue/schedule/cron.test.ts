import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createTask } from 'node-cron';
import { UsageError } from '../../../worker/base/errors.ts';
import { readCron } from '../../../worker/queue/schedule/cron.ts';

// Which moments an expression means.

/** The ticks after a moment, in order. */
function ticksOf(cron: string, timeZone: string, from: string, many: number): string[] {
  const { after } = readCron(cron, timeZone);
  const found = [new Date(from)];
  while (found.length <= many) found.push(after(found.at(-1)!));
  return found.slice(1).map((tick) => tick.toISOString().replace('.000Z', 'Z'));
}

for (const [cron, timeZone, from, expected] of [
  ['*/5 * * * *', 'UTC', '2026-01-01T00:00:00Z', ['2026-01-01T00:05:00Z', '2026-01-01T00:10:00Z']],
  ['*/5 * * * *', 'UTC', '2025-12-31T23:59:59.999Z', ['2026-01-01T00:00:00Z']],
  ['* * * * * *', 'UTC', '2026-01-01T00:00:00.001Z', ['2026-01-01T00:00:01Z', '2026-01-01T00:00:02Z']],
  ['30 0 0 * * *', 'UTC', '2026-01-01T00:00:00Z', ['2026-01-01T00:00:30Z', '2026-01-02T00:00:30Z']],
  ['30 3 * * *', 'Europe/Berlin', '2026-01-01T00:00:00Z', ['2026-01-01T02:30:00Z', '2026-01-02T02:30:00Z']],
  ['30 3 * * *', 'Asia/Kathmandu', '2026-01-01T00:00:00Z', ['2026-01-01T21:45:00Z']],
  ['0 9 * * mon-fri', 'UTC', '2026-01-02T10:00:00Z', ['2026-01-05T09:00:00Z', '2026-01-06T09:00:00Z']],
  ['0 0 29 2 1', 'UTC', '2072-03-01T00:00:00Z', ['2112-02-29T00:00:00Z']],
  ['0 0 29 2 *', 'UTC', '2026-01-01T00:00:00Z', ['2028-02-29T00:00:00Z', '2032-02-29T00:00:00Z']],
  ['0 0 L * *', 'UTC', '2026-02-01T00:00:00Z', ['2026-02-28T00:00:00Z', '2026-03-31T00:00:00Z']],
  ['@weekly', 'UTC', '2026-01-01T00:00:00Z', ['2026-01-04T00:00:00Z']],
] as const)
  test(`${cron} ${timeZone} after ${from} is ${expected.join(', ')}`, () => {
    assert.deepEqual(ticksOf(cron, timeZone, from, expected.length), expected);
  });

suite('when clocks go forward in Berlin, from 02:00 to 03:00', () => {
  test('a time in the hour that is left out is left out', () => {
    assert.deepEqual(ticksOf('30 2 * * *', 'Europe/Berlin', '2026-03-27T12:00:00Z', 3), [
      '2026-03-28T01:30:00Z',
      '2026-03-30T00:30:00Z',
      '2026-03-31T00:30:00Z',
    ]);
  });

  test('what comes all the time comes all the time', () => {
    assert.deepEqual(ticksOf('*/30 * * * *', 'Europe/Berlin', '2026-03-29T00:00:00Z', 4), [
      '2026-03-29T00:30:00Z',
      '2026-03-29T01:00:00Z',
      '2026-03-29T01:30:00Z',
      '2026-03-29T02:00:00Z',
    ]);
  });
});

suite('when clocks go back in Berlin, from 03:00 to 02:00', () => {
  test('a time in the hour that comes twice comes once', () => {
    assert.deepEqual(ticksOf('30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00:00Z', 2), [
      '2026-10-25T00:30:00Z',
      '2026-10-26T01:30:00Z',
    ]);
    assert.deepEqual(ticksOf('*/30 2-3 * * *', 'Europe/Berlin', '2026-10-24T12:00:00Z', 4), [
      '2026-10-25T00:00:00Z',
      '2026-10-25T00:30:00Z',
      '2026-10-25T02:00:00Z',
      '2026-10-25T02:30:00Z',
    ]);
  });

  test('what comes every hour comes in both', () => {
    assert.deepEqual(ticksOf('*/30 * * * *', 'Europe/Berlin', '2026-10-24T23:30:00Z', 5), [
      '2026-10-25T00:00:00Z',
      '2026-10-25T00:30:00Z',
      '2026-10-25T01:00:00Z',
      '2026-10-25T01:30:00Z',
      '2026-10-25T02:00:00Z',
    ]);
  });
});

suite('the ticks are the same from wherever one looks', () => {
  for (const [cron, timeZone, from] of [
    ['*/10 * * * *', 'Europe/Berlin', '2026-10-24T22:00:00Z'],
    ['*/10 * * * *', 'Europe/Berlin', '2026-03-28T23:00:00Z'],
    ['*/10 * * * *', 'America/New_York', '2026-11-01T04:00:00Z'],
    ['*/10 1-2 * * *', 'America/New_York', '2026-11-01T04:00:00Z'],
    ['15,45 * * * *', 'Australia/Lord_Howe', '2026-04-04T13:00:00Z'],
    ['0 */2 * * *', 'UTC', '2026-01-01T00:00:00Z'],
  ] as const)
    test(`${cron} ${timeZone} around ${from}`, () => {
      const { after, latest } = readCron(cron, timeZone);
      const ticks = ticksOf(cron, timeZone, from, 40).map((tick) => new Date(tick).getTime());
      for (let moment = ticks[0]!; moment < Math.min(ticks.at(-1)!, ticks[0]! + 6 * 3_600_000); moment += 607_000) {
        assert.equal(
          after(new Date(moment)).getTime(),
          ticks.find((tick) => tick > moment),
        );
        assert.equal(
          latest(new Date(ticks[0]!), new Date(moment)).getTime(),
          ticks.findLast((tick) => tick <= moment),
        );
      }
    });
});

test('the latest of millions of ticks is found, and one that has just come', () => {
  const { latest } = readCron('* * * * * *', 'Europe/Berlin');
  const now = new Date('2026-06-01T12:34:56.789Z');
  assert.equal(latest(new Date('2021-01-01T00:00:00Z'), now).toISOString(), '2026-06-01T12:34:56.000Z');
  const tick = new Date('2026-06-01T12:34:56.000Z');
  assert.deepEqual(latest(tick, tick), tick);
});

test('away from such hours the ticks are those of node-cron itself', () => {
  for (const cron of [
    '59 59 23 31 12 *',
    '0 0 L-3 * *',
    '17 5 15W * *',
    '0 12 * * 5#2',
    '30 4 * jan,jul 1L',
    '15,45 22-2 * * 7',
  ]) {
    const task = createTask(cron, () => {}, { timezone: 'Asia/Kathmandu' });
    const theirs = task.getNextRuns(30).map((tick) => tick.toISOString().replace('.000Z', 'Z'));
    void task.destroy();
    assert.deepEqual(ticksOf(cron, 'Asia/Kathmandu', new Date().toISOString(), 30), theirs, cron);
  }
});

for (const [cron, timeZone, said] of [
  ['61 * * * *', 'UTC', /^cron 61 \* \* \* \*: 61 is .* minute$/],
  ['* * *', 'UTC', /expected 5 or 6 fields but got 3/],
  ['@reboot', 'UTC', /illegal characters/],
  ['0 0 30 2 *', 'UTC', /impossible day of month/],
  ['0 0 L-29 2 *', 'UTC', /it never comes/],
  ['30 2 * 3 7L', 'Europe/Berlin', /it never comes/],
  // node-cron alone takes half a minute and gigabytes for each of these two.
  ['0 0 1-9999999 * *', 'UTC', /^cron .*: it has a number of more than two digits$/],
  ['0 0 1--100000000 * *', 'UTC', /a number of more than two digits/],
  [`${'0,'.repeat(100)}0 * * * *`, 'UTC', /longer than 200 characters/],
  ['* * * * *', 'Mars/Olympus', /^time zone Mars\/Olympus: Invalid time zone/],
  ['* * * * *', '', /^time zone : Invalid time zone/],
] as const)
  test(`${cron} ${timeZone} is refused`, () => {
    assert.throws(
      () => readCron(cron, timeZone).after(new Date()),
      (error) => error instanceof UsageError && said.test(error.message),
    );
  });
