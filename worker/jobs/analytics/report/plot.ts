import type { Anomaly, Day } from './facts.ts';
import { whole } from './numbers.ts';

/** Lines over days as SVG, once for a wide page and once for a phone: the style sheet shows one of them. */

type Size = { name: 'wide' | 'narrow'; width: number; height: number; ticks: number };
const sizes: Size[] = [
  { name: 'wide', width: 1_080, height: 260, ticks: 7 },
  { name: 'narrow', width: 340, height: 200, ticks: 3 },
];
const edge = { left: 52, right: 12, top: 12, bottom: 26 };

export type Plotted = { name: string; of: (day: Day) => number | null; metrics: string[] };

/** @returns nothing if no day is known */
export function plotOf({ name, of, metrics }: Plotted, days: Day[], anomalies: Anomaly[]): string {
  const now = days.filter((day) => day.is_now);
  const before = days.filter((day) => !day.is_now);
  const values = days.map(of).filter((value) => value !== null);
  if (now.every((day) => of(day) === null)) return '';
  const marked = new Set(anomalies.filter(({ metric }) => metrics.includes(metric)).map(({ day }) => day));
  const [low, high] = bounds(values);
  const drawn = sizes.map((size) => {
    const x = (n: number) => edge.left + (n * (size.width - edge.left - edge.right)) / Math.max(now.length - 1, 1);
    const y = (value: number) =>
      edge.top + ((high - value) * (size.height - edge.top - edge.bottom)) / (high - low || 1);
    const dots = now.flatMap((day, n) => {
      const value = of(day);
      if (value === null) return [];
      const isMarked = marked.has(day.day);
      const at = `cx="${x(n).toFixed(1)}" cy="${y(value).toFixed(1)}"`;
      const dot = `<circle class="${isMarked ? 'mark' : 'dot'}" ${at} r="${isMarked ? 6 : 2.5}"/>`;
      return [`<g>${dot}<title>${day.day}: ${whole(value)}${isMarked ? ', stands out' : ''}</title></g>`];
    });
    return [
      `<svg class="${size.name}" viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${name} by day">`,
      ...gridOf(size, low, high, y),
      ...labelsOf(size, now, x),
      `<path class="before" d="${lineOf(before.map(of), x, y)}"/>`,
      `<path class="now" d="${lineOf(now.map(of), x, y)}"/>`,
      ...dots,
      '</svg>',
    ].join('');
  });
  return `<figure><figcaption>${name}</figcaption>${drawn.join('')}</figure>`;
}

/** Counts begin at 0, unless all of them are far from it, as followers are. */
function bounds(values: number[]): [low: number, high: number] {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = (most - least) * 0.1 || 1;
  return [least > 0.5 * most ? Math.max(0, least - room) : Math.min(0, least), most + room];
}

/** A day that is unknown breaks the line. */
function lineOf(values: (number | null)[], x: (n: number) => number, y: (value: number) => number): string {
  return values
    .map((value, n) => {
      if (value === null) return '';
      const isFirst = n === 0 || values[n - 1] === null;
      return `${isFirst ? 'M' : 'L'}${x(n).toFixed(1)} ${y(value).toFixed(1)}`;
    })
    .join('');
}

function gridOf({ width }: Size, low: number, high: number, y: (value: number) => number): string[] {
  return [0, 1, 2].flatMap((step) => {
    const value = low + ((high - low) * step) / 2.2;
    const at = y(value).toFixed(1);
    return [
      `<line class="grid" x1="${edge.left}" x2="${width - edge.right}" y1="${at}" y2="${at}"/>`,
      `<text x="${edge.left - 6}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${short(value)}</text>`,
    ];
  });
}

function labelsOf({ height, ticks }: Size, days: Day[], x: (n: number) => number): string[] {
  const every = Math.max(1, Math.ceil((days.length - 1) / (ticks - 1)));
  return days.flatMap(({ day }, n) => {
    if (n % every !== 0) return [];
    const anchor = n === 0 ? 'start' : n > days.length - 1 - every / 2 ? 'end' : 'middle';
    return [`<text x="${x(n).toFixed(1)}" y="${height - 6}" text-anchor="${anchor}">${day.slice(5)}</text>`];
  });
}

const short = (value: number) =>
  new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 }).format(value);
