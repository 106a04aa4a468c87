/** One line of the table: `ratio` is ours / anchor, both medians of interleaved runs, and `goal` what it should be at most. */
export type Result = { name: string; ratio: number; ours: number; anchor: number; unit: string; goal: number };

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
