import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mean, standardDeviation } from 'simple-statistics';
import { judge, quietDays, standingOut, windowDays, type Series } from '../../worker/jobs/analytics/anomaly/robust.ts';
import { contextual, jumps, outbreaks, pureNoise, yahoo, type Labelled } from '../support/analytics/series.ts';

// Which days stand out, on series whose anomalies are known. No labelled benchmark of daily series comes in a package
// that is free to use, so the series are made by recipes that others published, none of them fitted to the method.

type Rule = (series: Series, index: number) => boolean;

/** The two rules that everybody writes first. */
const threeSigma: Rule = (series, index) => {
  const before = series.slice(Math.max(0, index - windowDays), index) as number[];
  if (before.length < 14) return false;
  return Math.abs(series[index]! - mean(before)) > 3 * standardDeviation(before);
};
const seasonalNaive: Rule = (series, index) => {
  const errors = Array.from({ length: Math.min(windowDays, index - 7) }, (_, n) => index - 1 - n).map(
    (day) => series[day]! - series[day - 7]!,
  );
  if (errors.length < 14) return false;
  return Math.abs(series[index]! - series[index - 7]!) > 3 * standardDeviation(errors);
};

const first = 56;
const robust = ({ values }: Labelled) => [...standingOut(values, first).keys()];
/** One a series per three days, too. */
const by =
  (rule: Rule) =>
  ({ values }: Labelled): number[] => {
    const found: number[] = [];
    for (let day = first; day < values.length; day++)
      if (day - (found.at(-1) ?? -Infinity) >= quietDays && rule(values, day)) found.push(day);
    return found;
  };

function score(series: Labelled[], detect: (one: Labelled) => number[]) {
  let [right, wrong, missed] = [0, 0, 0];
  for (const one of series) {
    const found = detect(one);
    const hits = [...one.labels].filter((day) => found.includes(day)).length;
    right += hits;
    missed += one.labels.size - hits;
    // What is told in the two days after an anomaly is its end, and counts as nothing.
    wrong += found.filter((day) => ![0, 1, 2].some((late) => one.labels.has(day - late))).length;
  }
  const precision = right / Math.max(right + wrong, 1);
  const recall = right / Math.max(right + missed, 1);
  return { precision, recall, f1: (2 * precision * recall) / Math.max(precision + recall, 1e-9) };
}

const many = (recipe: (seed: number) => Labelled) => Array.from({ length: 60 }, (_, n) => recipe(1_000 + n));

test('on four recipes of others it finds more and is wrong less often than 3 sigma and seasonal naive', (t) => {
  let precisions = 0;
  for (const recipe of [yahoo, outbreaks, contextual, jumps]) {
    const series = many(recipe);
    const scores = {
      robust: score(series, robust),
      '3 sigma': score(series, by(threeSigma)),
      'seasonal naive': score(series, by(seasonalNaive)),
    };
    for (const [rule, { precision, recall, f1 }] of Object.entries(scores))
      t.diagnostic(
        `${series[0]!.name}, ${rule}: precision ${precision.toFixed(2)}, recall ${recall.toFixed(2)}, ` +
          `F1 ${f1.toFixed(2)}`,
      );
    for (const other of ['3 sigma', 'seasonal naive'] as const)
      assert.ok(scores.robust.f1 > scores[other].f1, `${series[0]!.name}: not better than ${other}`);
    precisions += scores.robust.precision / 4;
  }
  assert.ok(precisions > 0.85, `precision ${precisions}`);
});

test('200 series of pure noise alarm on at most one day of a hundred', (t) => {
  let [alarms, days] = [0, 0];
  const worst = { share: 0, seed: 0 };
  for (let seed = 0; seed < 200; seed++) {
    const values = pureNoise(seed);
    const found = standingOut(values, first).size;
    alarms += found;
    days += values.length - first;
    const share = found / (values.length - first);
    if (share > worst.share) Object.assign(worst, { share, seed });
  }
  t.diagnostic(
    `${alarms} alarms in ${days} days, ${((100 * alarms) / days).toFixed(2)} %; ` +
      `the worst series ${(100 * worst.share).toFixed(1)} % (${worst.seed})`,
  );
  assert.ok(alarms / days <= 0.01, `${alarms} of ${days}`);
});

test('both thresholds must be passed: a step that is large for the series, and one that is large for people', () => {
  const usual = Array.from({ length: 60 }, (_, day) => 10_000 + (day % 2));
  assert.equal(standingOut([...usual, 12_400], 60).size, 0, '24 % is far out, and too little to tell');
  assert.equal(standingOut([...usual, 12_600], 60).size, 1);
  const few = Array.from({ length: 60 }, (_, day) => [2, 4, 3, 5][day % 4]!);
  assert.equal(standingOut([...few, 8], 60).size, 0, 'more than double, and what chance does to small counts');
});

test('a weekday is compared with itself, and an earlier peak hides nothing', () => {
  const week = [100, 100, 100, 100, 100, 900, 900].map((value) => value * 10);
  const series = Array.from({ length: 60 }, (_, day) => week[day % 7]!);
  series[20] = 90_000;
  const saturday = 61 - (61 % 7) + 5;
  const at = (value: number) => standingOut([...series, ...Array(saturday - 60).fill(1_000), value], saturday).size;
  assert.deepEqual([at(9_000), at(1_000), at(20_000)], [0, 1, 1]);
});

test('what is unknown is no alarm, and nothing is judged by less than two weeks', () => {
  const usual: (number | null)[] = Array.from({ length: 60 }, () => 1_000);
  assert.equal(judge([...usual, null], 60), undefined);
  assert.equal(judge([...usual.slice(0, 13), 9_000], 13), undefined);
  assert.equal(judge([...Array(50).fill(null), ...usual.slice(0, 13), 9_000], 63), undefined);
  const { z, change, days, expected } = judge([...usual.slice(0, 14), 3_000], 14)!;
  assert.deepEqual({ change, days, expected }, { change: 2, days: 14, expected: 1_000 });
  assert.ok(z > 3.5);
  assert.equal(judge([...Array(60).fill(0), 0], 60)!.z, 0);
});

test('an event is told once: the series is silent for the rest of three days', () => {
  const usual = Array.from({ length: 60 }, () => 1_000);
  const found = standingOut([...usual, 5_000, 5_000, 5_000, 5_000, 5_000], 60);
  assert.deepEqual([...found.keys()], [60, 63]);
  assert.deepEqual([...standingOut([...usual, 5_000, 5_000, 5_000, 5_000], 61, 60).keys()], [63]);
});
