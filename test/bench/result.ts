/**
 * One line of the table: `ratio` is ours / anchor, both medians of interleaved runs, or the anchor is a budget. `goal`
 * is what the ratio should be at least or at most; null: for information.
 */
export type Result = {
  name: string;
  ratio: number;
  ours: number;
  anchor: number;
  unit: string;
  goal: number | null;
  goal_is: 'at least' | 'at most' | null;
};

type Figures = { ours: number; anchor: number; unit: string };

export const atLeast = (goal: number, name: string, figures: Figures) => result(name, figures, goal, 'at least');
export const atMost = (goal: number, name: string, figures: Figures) => result(name, figures, goal, 'at most');
export const information = (name: string, figures: Figures) => result(name, figures, null, null);

function result(name: string, figures: Figures, goal: Result['goal'], goalIs: Result['goal_is']): Result {
  return { name, ratio: figures.ours / figures.anchor, ...figures, goal, goal_is: goalIs };
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The smallest value that `share` of the values (0 to 1) do not exceed. */
export function percentile(values: number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1]!;
}
