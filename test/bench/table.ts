import type { Result } from './result.ts';

/** The results as aligned columns; a goal that was missed says so. */
export function table(results: Result[]): string {
  const rows = [['', 'ratio', 'ours', 'anchor', 'goal', ''], ...results.map(row)];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)));
  return rows
    .map((cells) =>
      cells
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]! + 2)))
        .join('')
        .trimEnd(),
    )
    .join('\n');
}

function row({ name, ratio, ours, anchor, unit, goal, goal_is }: Result): string[] {
  const sign = goal_is === 'at least' ? '>=' : '<=';
  const missed = goal !== null && (goal_is === 'at least' ? !(ratio >= goal) : !(ratio <= goal));
  return [
    name,
    ratio.toFixed(2),
    `${figure(ours)} ${unit}`,
    `${figure(anchor)} ${unit}`,
    goal === null ? '' : `${sign} ${goal.toFixed(2)}`,
    missed ? 'missed' : '',
  ];
}

/** Three digits that count. */
const figure = (value: number) =>
  Math.abs(value) >= 100 || value === 0 ? value.toFixed(0) : value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
