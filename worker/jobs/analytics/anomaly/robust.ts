import { median } from 'simple-statistics';

/**
 * Which days of a series stand out: a robust z against the eight weeks before. The median and the median of absolute
 * deviations (MAD) are not moved by earlier peaks, as mean and standard deviation are; a weekday has its own level.
 * Both thresholds must be passed: far for this series, and large for whoever reads it.
 */

/** Eight weeks: each weekday is there eight times. */
export const windowDays = 56;
const thresholds = { z: 3.5, change: 0.25 };
/** With fewer known days before it, a day is not judged. */
const fewestDays = 14;
/** A weekday with fewer days has no level of its own. */
const fewestOfWeekday = 3;
/** Makes the MAD comparable with a standard deviation, if values were distributed normally. */
const madToSigma = 1.4826;
/** Of a series that hardly moves, a small step would be many times its spread. */
const leastSpread = 0.05;
/** After a day that stands out, a series is silent for the rest of so many days: one event is told once. */
export const quietDays = 3;

/** One value a day, without gaps in the calendar; null: unknown. Index 0 may be any weekday. */
export type Series = readonly (number | null)[];

export type Verdict = {
  expected: number;
  /** Robust standard deviations from what was expected. */
  z: number;
  /** As a part of what was expected. */
  change: number;
  /** How many days before it were known. */
  days: number;
};

/** How far the value at `index` is from what the days before let expect. Undefined: it cannot be judged. */
export function judge(series: Series, index: number): Verdict | undefined {
  const value = series[index];
  if (value === null || value === undefined) return undefined;
  const start = Math.max(0, index - windowDays);
  const before = series.slice(start, index);
  const known = before.filter((each) => each !== null);
  if (known.length < fewestDays) return undefined;

  const middle = median(known);
  const effects = weekdayEffects(before, start, middle);
  const deviations = before.flatMap((each, n) =>
    each === null ? [] : [Math.abs(each - middle - effects[(start + n) % 7]!)],
  );
  const expected = middle + effects[index % 7]!;
  // Of counts, chance alone makes a spread of the root of their size.
  const spread = Math.max(
    madToSigma * median(deviations),
    leastSpread * Math.abs(middle),
    Math.sqrt(Math.max(Math.abs(expected), 1)),
  );
  return {
    expected,
    z: (value - expected) / spread,
    change: (value - expected) / Math.max(Math.abs(expected), 1),
    days: known.length,
  };
}

/** By index modulo 7: how far a weekday is from the middle. Few days are believed less: their effect is shrunk. */
function weekdayEffects(before: Series, start: number, middle: number): number[] {
  return Array.from({ length: 7 }, (_, weekday) => {
    const same = before.filter((each, n) => each !== null && (start + n) % 7 === weekday) as number[];
    if (same.length < fewestOfWeekday) return 0;
    return ((median(same) - middle) * same.length) / (same.length + 2);
  });
}

/** The indexes from `first` on that stand out, with their verdicts. @param last the index that was told last */
export function standingOut(series: Series, first: number, last = -Infinity): Map<number, Verdict> {
  const found = new Map<number, Verdict>();
  let told = last;
  for (let index = first; index < series.length; index++) {
    if (index - told < quietDays) continue;
    const verdict = judge(series, index);
    if (!verdict || Math.abs(verdict.z) < thresholds.z || Math.abs(verdict.change) < thresholds.change) continue;
    found.set(index, verdict);
    told = index;
  }
  return found;
}
