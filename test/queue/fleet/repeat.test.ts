import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { repeat } from '../../../worker/queue/fleet/repeat.ts';
import { eventually } from '../../support/eventually.ts';
import { silent } from '../../support/log.ts';

test('chores of the same time begin in the same turn, also on a busy machine', async () => {
  const stop = new AbortController();
  const turns: string[][] = [];
  let now: string[] | undefined;
  const note = (name: string) => {
    if (!now) {
      turns.push((now = []));
      void turn().then(() => (now = undefined));
    }
    now.push(name);
  };
  const chore = (name: string, everyMs: number) => ({ everyMs, work: async () => note(name) });
  const done = repeat([chore('a', 40), chore('b', 80), chore('c', 40)], silent, stop.signal);
  await eventually(() => assert.ok(turns.length >= 12));
  stop.abort();
  await done;
  const alone = turns.filter((names) => names.includes('b') && !(names.includes('a') && names.includes('c')));
  assert.deepEqual(alone, [], JSON.stringify(turns));
  assert.ok(turns.filter((names) => names.includes('b')).length < turns.length);
});

test('a chore that takes long holds up no other, and does not overlap with itself', async () => {
  const stop = new AbortController();
  const slow = Promise.withResolvers<void>();
  let [begun, quick, failed] = [0, 0, 0];
  const chores = [
    { everyMs: 5, work: () => (begun++, slow.promise) },
    { everyMs: 5, work: async () => void quick++ },
    { everyMs: 5, work: () => (failed++, Promise.reject(new Error('as tested'))) },
  ];
  const done = repeat(chores, silent, stop.signal);
  await eventually(() => assert.ok(quick > 10 && failed > 10));
  assert.equal(begun, 1);
  let ended = false;
  void done.then(() => (ended = true));
  stop.abort();
  await turn();
  assert.equal(ended, false, 'it waits for what is under way');
  slow.resolve();
  await done;
});
