import type { Facts, Rate, Time } from './facts.ts';
import { dayName, percent, whole } from './numbers.ts';

/**
 * What a report says in words. Each sentence is a rule on the facts, and comes with the number of observations behind
 * it and its formula. None says why something happened: the figures do not know.
 */

export type Insight = {
  text: string;
  /** How many observations. */
  n: number;
  formula: string;
  /** Which of the facts it comes from. */
  from: 'totals' | 'rates' | 'posts' | 'times' | 'anomalies' | 'published';
};

/** A smaller change is not told. */
const leastChange = 0.1;
/** A median of fewer posts says nothing. */
const fewestPosts = 5;
/** A period with fewer known days is not compared. */
const leastKnown = 0.8;

export const insightsOf = (facts: Facts): Insight[] => [
  ...changes(facts),
  ...rateChanges(facts),
  ...topPost(facts),
  ...unusual(facts),
  ...unknownDays(facts),
];

export const recommendationsOf = (facts: Facts): Insight[] => [
  ...bestTime(facts, 'weekday'),
  ...bestTime(facts, 'hour'),
  ...fewerPosts(facts),
];

function changes({ totals, length, accounts }: Facts): Insight[] {
  const enough = leastKnown * length * accounts.length;
  return totals.rows.flatMap(({ metric, value, before, days, days_before }) => {
    if (value === null || !before || days < enough || days_before < enough) return [];
    const change = value / before - 1;
    const least = metric === 'followers' ? leastChange / 10 : leastChange;
    if (Math.abs(change) < least) return [];
    const text = `${whole(value)} ${nameOf(metric)}: ${percent(Math.abs(change))} ${
      change > 0 ? 'more' : 'less'
    } than in the ${length} days before (${whole(before)}).`;
    return [{ text, n: days, formula: `${value} / ${before} - 1`, from: 'totals' as const }];
  });
}

/** Told only if chance is no likely reason: the 95 % intervals of both rates do not touch. */
function rateChanges({ rates }: Facts): Insight[] {
  return rates.rows.flatMap((row) => {
    const [now, before] = [interval(row.engagements, row.views), interval(row.engagements_before, row.views_before)];
    if (!now || !before || (now.low <= before.high && before.low <= now.high)) return [];
    const text = `${titleOf(row)}: the engagement rate ${now.low > before.high ? 'rose' : 'fell'} from ${percent(
      row.rate_before,
      2,
    )} to ${percent(row.rate, 2)}.`;
    return [
      { text, n: row.views!, formula: `${row.formula}; 95 % Wilson intervals do not touch`, from: 'rates' as const },
    ];
  });
}

function topPost({ posts, rates }: Facts): Insight[] {
  const [top] = posts.rows;
  const views = rates.rows.reduce((sum, row) => sum + (row.views ?? 0), 0);
  if (!top || views === 0 || top.views / views < 0.25) return [];
  const text = `One post has ${percent(top.views / views)} of all views: "${top.title}".`;
  return [{ text, n: views, formula: `${top.views} / ${views}`, from: 'posts' }];
}

/** One event moves several metrics: it is told once, by the one that stands out most. */
function unusual({ anomalies }: Facts): Insight[] {
  const events = Map.groupBy(anomalies.rows, ({ day, platform, name }) => `${day} ${platform} ${name}`);
  return [...events.values()].slice(0, 5).map(([most, ...others]) => {
    const { day, name, metric, value, expected, z, change, days, posts } = most!;
    const size = `${percent(Math.abs(change))} ${change > 0 ? 'more' : 'less'}`;
    const also = others.length > 0 ? ` So do ${others.map((other) => nameOf(other.metric)).join(', ')}.` : '';
    const beside = posts.length > 0 ? ` Published then: ${posts.map((post) => `"${post}"`).join(', ')}.` : '';
    return {
      text:
        `${name}, ${day} stands out: ${whole(value)} ${nameOf(metric)} instead of about ` +
        `${whole(Math.round(expected))}, ${size}.${also}${beside}`,
      n: days,
      formula: `z = ${z.toFixed(1)}, change = (${value} - ${expected.toFixed(0)}) / ${expected.toFixed(0)}`,
      from: 'anomalies' as const,
    };
  });
}

function unknownDays({ totals, length, accounts }: Facts): Insight[] {
  const all = length * accounts.length;
  return totals.rows.flatMap(({ metric, days }) =>
    days === 0 || days >= leastKnown * all
      ? []
      : [
          {
            text: `Of ${nameOf(metric)} only ${days} of ${all} days are known: it is not compared.`,
            n: days,
            formula: `${days} / ${all}`,
            from: 'totals' as const,
          },
        ],
  );
}

/** A median is only told if it is well above that of all posts. */
function bestTime({ times }: Facts, by_what: 'weekday' | 'hour'): Insight[] {
  const all = times.rows.find((row) => row.by_what === 'all');
  const parts = times.rows.filter((row) => row.by_what === by_what && row.n >= fewestPosts);
  const [best] = parts.toSorted((a, b) => b.median_rate - a.median_rate);
  if (!all || !best || parts.length < 2 || best.median_rate < all.median_rate * (1 + leastChange)) return [];
  const text = `Try ${partName(best)}: posts published then have a median engagement rate of ${percent(
    best.median_rate,
    2,
  )}, all posts ${percent(all.median_rate, 2)}.`;
  const formula = `median of the rates of ${best.n} posts / of ${all.n} posts, 90 days, 100 views and more each`;
  return [{ text, n: best.n, formula, from: 'times' }];
}

function fewerPosts({ published, length }: Facts): Insight[] {
  const { now, before } = published.rows[0] ?? { now: 0, before: 0 };
  if (before < fewestPosts || now >= before * 0.7) return [];
  const text = `${now} posts were published, ${before} in the ${length} days before: look whether that was meant.`;
  return [{ text, n: now + before, formula: `${now} / ${before}`, from: 'published' }];
}

const partName = ({ by_what, part }: Time) =>
  by_what === 'weekday' ? `${dayName(part)}s` : `${String(part).padStart(2, '0')}:00 to ${part + 3}:00`;
const titleOf = ({ platform, name }: Rate) => `${name} (${platform})`;
const nameOf = (metric: string) => metric.replaceAll('_', ' ');

/** Wilson's score interval of a share, 95 %. Undefined below 100 views. */
function interval(part: number | null, whole_: number | null): { low: number; high: number } | undefined {
  if (part === null || whole_ === null || whole_ < 100 || part > whole_) return undefined;
  const z = 1.96;
  const share = part / whole_;
  const middle = share + (z * z) / (2 * whole_);
  const half = z * Math.sqrt((share * (1 - share)) / whole_ + (z * z) / (4 * whole_ * whole_));
  const scale = 1 + (z * z) / whole_;
  return { low: (middle - half) / scale, high: (middle + half) / scale };
}
