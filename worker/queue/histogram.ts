// How long things took, as counts: entry n counts those of up to 2 ^ (n / 2) milliseconds. A quantile read from it is
// right to a fifth, whatever the scale, and the histograms of a fleet, or of an hour, can be added up.

/** Entry 46 is for up to two and a third hours; the last one, for all that took longer. */
const entries = 48;

/** Which entry counts it. */
export const entryOf = (ms: number): number =>
  ms <= 1 ? 0 : Math.min(entries - 1, Math.ceil(2 * Math.log2(ms) - 1e-9));

/** Counts one. The histogram is as long as it needs to be. */
export function count(histogram: number[], ms: number): void {
  const entry = entryOf(ms);
  while (histogram.length <= entry) histogram.push(0);
  histogram[entry]! += 1;
}

/** @param share 0.95 for what 95 % did not exceed @returns milliseconds; null if nothing was counted */
export function quantile(histogram: readonly number[], share: number): number | null {
  const total = histogram.reduce((sum, each) => sum + each, 0);
  if (total === 0) return null;
  let below = 0;
  for (const [entry, counted] of histogram.entries()) {
    if (counted > 0 && below + counted >= share * total) {
      const into = Math.max(0, share * total - below) / counted;
      return entry === 0 ? into : 2 ** ((entry - 1 + into) / 2);
    }
    below += counted;
  }
  return null;
}
