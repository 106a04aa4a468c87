import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backlog } from '../../../worker/queue/run/backlog.ts';

const ticketSize = 100;

function backlogAfter(...sizes: number[]): Backlog {
  const backlog = new Backlog();
  for (const size of sizes) void backlog.add({ ids: Array.from({ length: size }, (_, id) => id), priority: 0 });
  return backlog;
}

test('while tickets have one job each, several are claimed at once', () => {
  const backlog = backlogAfter(1, 1);
  assert.deepEqual(
    [0, 1, 3, 50].map((jobs) => backlog.ticketsFor(jobs, ticketSize)),
    [0, 1, 3, 4],
  );
});

test('while tickets are full, only as many are claimed as the jobs need', () => {
  const backlog = backlogAfter(1, 100, 100);
  assert.deepEqual(
    [0, 50, 101, 1_000].map((jobs) => backlog.ticketsFor(jobs, ticketSize)),
    [0, 1, 2, 10],
  );
});

test('the small last ticket of a bulk insert does not make the next ones count as small', () => {
  assert.equal(backlogAfter(100, 100, 1).ticketsFor(50, ticketSize), 1);
  assert.equal(backlogAfter(100, 1, 1, 1, 1, 1, 1).ticketsFor(50, ticketSize), 4);
});
