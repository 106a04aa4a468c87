// What analytics.aggregate should write, computed by hand as one would in a spreadsheet: clocks by Intl, no SQL.

export type Point = {
  account_id: number;
  post_id: number;
  metric: string;
  observed_at: Date;
  value: number | null;
  cumulative: boolean;
};
export type Daily = {
  post_id: number;
  metric: string;
  day: string;
  value: number | null;
  decrease: number;
  posts: number | null;
  missing: number | null;
};
export type Weekly = { post_id: number; metric: string; week: string; value: number | null; days: number };

export type Sheet = {
  time_zone: string;
  /** When each post was published. */
  published: Map<number, Date | null>;
  points: Point[];
  until: string;
};

/** Followers are a level; reach does not add up; the others are counters that do. */
const isLevel = (metric: string) => metric === 'followers';
const addsUp = (metric: string) => metric !== 'followers' && metric !== 'reach';

export const plus = (day: string, days: number): string =>
  new Date(Date.parse(day) + days * 86_400_000).toISOString().slice(0, 10);

const formats = new Map<string, Intl.DateTimeFormat>();
/** The clock on the wall, as `2026-03-29T02:30:00`. */
function wallOf(at: Date, timeZone: string): string {
  const format =
    formats.get(timeZone) ?? new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' });
  formats.set(timeZone, format);
  return format.format(at).replace(' ', 'T');
}

/** The first moment of a day. */
export function midnight(day: string, timeZone: string): Date {
  let low = Date.parse(day) - 20 * 3_600_000;
  let high = Date.parse(day) + 20 * 3_600_000;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (wallOf(new Date(middle), timeZone).slice(0, 10) < day) low = middle;
    else high = middle;
  }
  return new Date(high);
}

type Cell = { close?: { value: number; far: number; at: number }; amount?: number | null };

export function daysOf({ time_zone, published, points, until }: Sheet): Daily[] {
  const sheet = new Map<string, Map<string, Cell>>();
  for (const { post_id, metric, observed_at, value, cumulative } of points) {
    const series = sheet.get(`${post_id} ${metric}`) ?? new Map<string, Cell>();
    sheet.set(`${post_id} ${metric}`, series);
    if (!cumulative) {
      const day = observed_at.toISOString().slice(0, 10);
      const cell = series.get(day) ?? {};
      const before = cell.amount ?? null;
      series.set(day, { ...cell, amount: value === null ? before : (before ?? 0) + value });
    } else if (value !== null) {
      const wall = wallOf(observed_at, time_zone);
      const day = plus(wall.slice(0, 10), Number(wall.slice(11, 13)) >= 12 ? 0 : -1);
      const cell = series.get(day) ?? {};
      const far = Math.abs(observed_at.getTime() - midnight(plus(day, 1), time_zone).getTime());
      const at = observed_at.getTime();
      if (!cell.close || far < cell.close.far || (far === cell.close.far && at < cell.close.at))
        series.set(day, { ...cell, close: { value, far, at } });
    }
  }
  const own = [...sheet].flatMap(([name, series]) => {
    const [post, metric] = name.split(' ') as [string, string];
    const since = published.get(Number(post));
    return [...series].flatMap(([day, cell]) =>
      rowOf(Number(post), metric, day, cell, series, since, time_zone, until),
    );
  });
  return withAccounts(own, until).toSorted(byKey);
}

function rowOf(
  post_id: number,
  metric: string,
  day: string,
  { close, amount }: Cell,
  series: Map<string, Cell>,
  since: Date | null | undefined,
  time_zone: string,
  until: string,
): Daily[] {
  if (day > until) return [];
  const row = { post_id, metric, day, decrease: 0, posts: null, missing: null };
  const before = series.get(plus(day, -1))?.close?.value;
  const base = before ?? (since && since >= midnight(day, time_zone) ? 0 : undefined);
  const grown =
    close === undefined
      ? null
      : isLevel(metric)
        ? close.value
        : base === undefined
          ? null
          : Math.max(0, close.value - base);
  const decrease = close === undefined || base === undefined || isLevel(metric) ? 0 : Math.max(0, base - close.value);
  if (amount !== undefined && amount !== null) return [{ ...row, value: amount }];
  if (grown !== null) return [{ ...row, value: grown, decrease }];
  if (amount === undefined && close === undefined) return [];
  return [{ ...row, value: null, decrease: amount === undefined ? decrease : 0 }];
}

/** What the platform does not say of the account is the sum of its posts. */
function withAccounts(own: Daily[], until: string): Daily[] {
  const ofPosts = own.filter(({ post_id, metric }) => post_id !== 0 && addsUp(metric));
  const sums = new Map<string, Daily>();
  const add = (metric: string, day: string, value: number | null) => {
    const empty: Daily = { post_id: 0, metric, day, value: null, decrease: 0, posts: 0, missing: 0 };
    const sum = sums.get(`${metric} ${day}`) ?? empty;
    sums.set(`${metric} ${day}`, {
      ...sum,
      value: value === null ? sum.value : (sum.value ?? 0) + value,
      posts: sum.posts! + (value === null ? 0 : 1),
      missing: sum.missing! + (value === null ? 1 : 0),
    });
  };
  for (const { post_id, metric, day, value } of ofPosts) {
    add(metric, day, value);
    const next = plus(day, 1);
    const isKnown = ofPosts.some((row) => row.post_id === post_id && row.metric === metric && row.day === next);
    if (!isKnown && next <= until) add(metric, next, null);
  }
  const ofAccount = own.filter(({ post_id }) => post_id === 0);
  const said = ofAccount.filter(({ metric, day, value }) => value !== null || !sums.has(`${metric} ${day}`));
  const isSaid = ({ metric, day }: Daily) => said.some((row) => row.metric === metric && row.day === day);
  return [...own.filter(({ post_id }) => post_id !== 0), ...said, ...[...sums.values()].filter((sum) => !isSaid(sum))];
}

export function weeksOf(days: Daily[]): Weekly[] {
  const monday = (day: string) => plus(day, -((new Date(day).getUTCDay() + 6) % 7));
  const weeks = Map.groupBy(
    days.filter(({ metric }) => metric !== 'reach'),
    ({ post_id, metric, day }) => `${post_id} ${metric} ${monday(day)}`,
  );
  return [...weeks]
    .map(([name, rows]) => {
      const [post, metric, week] = name.split(' ') as [string, string, string];
      const known = rows.filter(({ value }) => value !== null).toSorted((a, b) => a.day.localeCompare(b.day));
      const sum = known.reduce((total, { value }) => total + value!, 0);
      const value = known.length === 0 ? null : isLevel(metric) ? known.at(-1)!.value : sum;
      return { post_id: Number(post), metric, week, value, days: known.length };
    })
    .toSorted((a, b) => a.post_id - b.post_id || a.metric.localeCompare(b.metric) || a.week.localeCompare(b.week));
}

const byKey = (a: Daily, b: Daily) =>
  a.post_id - b.post_id || a.metric.localeCompare(b.metric) || a.day.localeCompare(b.day);
