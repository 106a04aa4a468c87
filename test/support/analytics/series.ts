// Daily series with known anomalies, by recipes that others published, and pure noise. Each from a seed.

/** mulberry32, by Tommy Ettinger: a small generator whose runs can be repeated. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export type Random = () => number;
export type Labelled = { name: string; values: number[]; labels: Set<number> };

export const normal = (random: Random): number =>
  Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

/** Knuth for small means; a normal distribution for large ones. */
function poisson(random: Random, mean: number): number {
  if (mean > 200) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  const limit = Math.exp(-mean);
  let count = -1;
  for (let product = 1; product > limit || count < 0; product *= random()) count++;
  return count;
}

/** Marsaglia and Tsang, 2000; for shapes of 1 and more. */
function gamma(random: Random, shape: number): number {
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - random()) < (x * x) / 2 + d - d * v + d * Math.log(v)) return d * v;
  }
}

/** With so many times the variance of a Poisson distribution. */
const negativeBinomial = (random: Random, mean: number, dispersion: number): number =>
  poisson(random, gamma(random, Math.max(mean / (dispersion - 1), 1)) * Math.min(dispersion - 1, mean));

const between = (random: Random, low: number, high: number) => low + (high - low) * random();
const count = (value: number) => Math.max(0, Math.round(value));
const weekly = (day: number) => Math.sin((2 * Math.PI * day) / 7);

/** Days far enough from each other, after the first eight weeks. */
function someDays(random: Random, days: number, howMany: number): number[] {
  const found: number[] = [];
  for (let tries = 0; found.length < howMany && tries < 1_000; tries++) {
    const day = Math.floor(between(random, 60, days - 5));
    if (found.every((other) => Math.abs(other - day) > 10)) found.push(day);
  }
  return found;
}

/**
 * Yahoo's S5, A3: a trend, seasons of different lengths, noise, and outliers at random places. Laptev, Amizadeh and
 * Flint, "Generic and scalable framework for automated time-series anomaly detection", KDD 2015. Here the season is a
 * week, because the days of people are.
 */
export function yahoo(seed: number, days = 240): Labelled {
  const random = randomFrom(seed);
  const level = between(random, 500, 5_000);
  const [slope, season, month] = [between(random, -0.15, 0.3), between(random, 0.05, 0.3), between(random, 0, 0.1)];
  const noise = between(random, 0.03, 0.1);
  const labels = new Set(someDays(random, days, 5));
  const values = Array.from({ length: days }, (_, day) => {
    const usual = level * (1 + (slope * day) / days + season * weekly(day) + month * Math.sin(day / 4.8));
    const outlier = labels.has(day) ? (random() < 0.7 ? 1 : -1) * between(random, 0.4, 1) * level : 0;
    return count(usual + noise * level * normal(random) + outlier);
  });
  return { name: 'Yahoo S5 A3', values, labels };
}

/**
 * Counts of an epidemic: negative binomial around a log-linear trend, a weekday effect, and outbreaks whose size is a
 * multiple of the standard deviation. Noufaily and others, "An improved algorithm for outbreak detection in multiple
 * surveillance systems", Statistics in Medicine 2013, section 3.
 */
export function outbreaks(seed: number, days = 240): Labelled {
  const random = randomFrom(seed);
  const [level, dispersion] = [between(random, 30, 2_000), between(random, 1.2, 6)];
  const [trend, season] = [between(random, -0.001, 0.002), between(random, 0, 0.3)];
  const labels = new Set<number>();
  const extra = new Map<number, number>();
  for (const start of someDays(random, days, 4)) {
    const size = between(random, 5, 12) * Math.sqrt(level * dispersion);
    // Spread over some days by a log-normal distribution: the first two thirds of it count as the outbreak.
    const parts = [0.55, 0.3, 0.15];
    for (const [n, part] of parts.entries()) extra.set(start + n, size * part);
    labels.add(start);
  }
  const values = Array.from({ length: days }, (_, day) => {
    const mean = level * Math.exp(trend * day + season * weekly(day));
    return count(negativeBinomial(random, mean, dispersion) + (extra.get(day) ?? 0));
  });
  return { name: 'Noufaily outbreaks', values, labels };
}

/**
 * Point outliers of two sorts: global, far from everything; contextual, usual for the series but not for this day of
 * the season. Lai and others, "Revisiting time series outlier detection", NeurIPS Datasets and Benchmarks 2021.
 */
export function contextual(seed: number, days = 240): Labelled {
  const random = randomFrom(seed);
  const [level, season, noise] = [between(random, 200, 20_000), between(random, 0.4, 0.7), between(random, 0.03, 0.08)];
  const labels = new Set(someDays(random, days, 5));
  const values = Array.from({ length: days }, (_, day) => {
    const usual = level * (1 + season * weekly(day) + noise * normal(random));
    if (!labels.has(day)) return count(usual);
    const isContextual = random() < 0.5;
    return count(isContextual ? level * (1 - season * weekly(day)) : usual + level * between(random, 1.5, 3));
  });
  // In the middle of the season the day's own value is as usual.
  for (const day of labels) {
    const usual = level * (1 + season * weekly(day));
    if (Math.abs(values[day]! - usual) < 0.3 * usual) labels.delete(day);
  }
  return { name: 'Lai point outliers', values, labels };
}

/**
 * Daily jumps and falls, and what looks like them but is none: the artificial series of the Numenta Anomaly Benchmark
 * (art_daily_jumpsup, _jumpsdown, _nojump, _flatmiddle). Lavin and Ahmad, ICMLA 2015. A fourth of them has none.
 */
export function jumps(seed: number, days = 240): Labelled {
  const random = randomFrom(seed);
  const [level, season, noise] = [
    between(random, 1_000, 8_000),
    between(random, 0.2, 0.5),
    between(random, 0.05, 0.15),
  ];
  const labels = new Set(seed % 4 === 0 ? [] : someDays(random, days, 3));
  const values = Array.from({ length: days }, (_, day) => {
    const workday = day % 7 < 5 ? 1 : 1 - season;
    const factor = labels.has(day) ? [1, 2, 0, 0.35][seed % 4]! : 1;
    return count(level * workday * factor * Math.exp(noise * normal(random)));
  });
  return { name: 'NAB artificial', values, labels };
}

/** Nothing to find, whatever it looks like. */
export function pureNoise(seed: number, days = 180): number[] {
  const random = randomFrom(seed);
  const level = 10 ** between(random, 0.5, 5);
  let drift = 0;
  const weekdays = Array.from({ length: 7 }, () => between(random, 0.7, 1.3));
  const kinds: ((day: number) => number)[] = [
    () => level * (1 + 0.15 * normal(random)),
    () => poisson(random, level),
    () => negativeBinomial(random, Math.max(level, 5), 4),
    () => level * Math.exp(0.25 * normal(random)),
    (day) => level * weekdays[day % 7]! * (1 + 0.12 * normal(random)),
    () => level * (1 + 0.15 * (drift = 0.6 * drift + 0.8 * normal(random))),
    () => level * between(random, 0.5, 1.5),
    (day) => poisson(random, level * weekdays[day % 7]! * (1 + day / days)),
  ];
  const kind = kinds[seed % kinds.length]!;
  return Array.from({ length: days }, (_, day) => count(kind(day)));
}
