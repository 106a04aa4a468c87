import { setTimeout as sleep } from 'node:timers/promises';
import { within } from '../../base/deadline.ts';

/** For what jobs write one by one, each when its far side has answered. */
export const oneByOne = { max: 100, parallel: 1, restMs: 10, patienceMs: 1_000 };

/**
 * Turns many small writes into few large ones, without a timer: while flushes are in flight, new items collect, and go
 * together. A single item goes at once. Each `add` settles with its own result, or with the error of its flush.
 * @param parallel how many flushes may be in flight: with two, one is prepared here while Postgres executes the other
 * @param restMs after a flush, before the next: items that come one by one, such as answers of a far side, go in fewer
 *   flushes
 * @param patienceMs a flush that takes longer, such as one that meets a locked row, does not hold up the others
 */
export function coalesce<Item, Result>(
  flush: (items: Item[]) => Promise<Result[]>,
  { max, parallel, restMs = 0, patienceMs }: { max: number; parallel: number; restMs?: number; patienceMs?: number },
): (item: Item) => Promise<Result> {
  type Entry = { item: Item; resolve: (result: Result) => void; reject: (error: unknown) => void };
  let collecting: Entry[] = [];
  let flushing = 0;

  async function drain() {
    while (collecting.length > 0) {
      const written = write(collecting.splice(0, max));
      await (patienceMs === undefined ? written : within(patienceMs, written));
      if (restMs > 0) await sleep(restMs);
    }
    flushing--;
  }

  async function write(batch: Entry[]) {
    try {
      const results = await flush(batch.map((entry) => entry.item));
      batch.forEach((entry, index) => entry.resolve(results[index]!));
    } catch (error) {
      if (batch.length === 1) batch[0]!.reject(error);
      else for (const entry of batch) void alone(entry);
    }
  }

  // An item that Postgres refuses, or whose row is locked, must not hold up its neighbours.
  async function alone({ item, resolve, reject }: Entry) {
    try {
      resolve((await flush([item]))[0]!);
    } catch (error) {
      reject(error);
    }
  }

  return (item) =>
    new Promise((resolve, reject) => {
      collecting.push({ item, resolve, reject });
      // All items that are added in this turn of the event loop go with the first flush.
      if (flushing < parallel) {
        flushing++;
        setImmediate(() => void drain());
      }
    });
}
