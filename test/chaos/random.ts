import { createHash } from 'node:crypto';

/**
 * Numbers from 0 to 1 (exclusive): the same keys give the same ones. mulberry32,
 * https://gist.github.com/tommyettinger/46a874533244883189143505d203312c
 */
export function random(...keys: (string | number)[]): () => number {
  let state = createHash('sha256').update(keys.join('/')).digest().readUInt32LE();
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number, `from` and `to` included. */
export const between = (next: () => number, from: number, to: number) => from + Math.floor(next() * (to - from + 1));

/** The item at `point`, from 0 to 1, of the list. */
export const at = <T>(items: readonly T[], point: number): T | undefined => items[Math.floor(point * items.length)];

/** One of the names, as often as its share of the sum says. */
export function weighted<Name extends string>(next: () => number, shares: Record<Name, number>): Name {
  const names = Object.keys(shares) as Name[];
  let rest = next() * names.reduce((sum, name) => sum + shares[name], 0);
  return names.find((name) => (rest -= shares[name]) < 0) ?? names[0]!;
}

export function shuffled<T>(next: () => number, items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, place: next() }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ item }) => item);
}
