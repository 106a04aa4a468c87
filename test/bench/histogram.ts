import { percentile } from './result.ts';

/** The upper bounds of the groups, in ms. */
const bounds = [1, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 15, 25, 50, 100, Infinity];
const shares = [0.5, 0.9, 0.99, 0.999, 1];

/** How several sets of times in ms are spread: how much of each lies in which group, and some percentiles. */
export function histogram(title: string, sets: Record<string, number[]>): string[] {
  const line = (label: string, cell: (times: number[]) => string) =>
    `  ${label.padStart(9)} ${Object.values(sets)
      .map((times) => cell(times).padStart(16))
      .join('')}`;
  const groups = bounds.map((bound, index) => {
    const from = bounds[index - 1] ?? 0;
    const share = (times: number[]) => times.filter((ms) => ms >= from && ms < bound).length / times.length;
    return line(bound === Infinity ? `from ${from}` : `to ${bound}`, (times) => `${(100 * share(times)).toFixed(1)} %`);
  });
  const percentiles = shares.map((share) =>
    line(share === 1 ? 'longest' : `p${share * 100}`, (times) => `${percentile(times, share).toFixed(2)} ms`),
  );
  const names = Object.keys(sets).map((name) => name.padStart(16));
  return [`${title}, ms`, `  ${''.padStart(9)} ${names.join('')}`, ...groups, ...percentiles];
}
