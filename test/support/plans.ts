/** A node of what `explain (analyze, format json)` says. */
export type PlanNode = { Plans?: PlanNode[]; [key: string]: unknown };

const counted = [
  'Actual Rows',
  'Rows Removed by Filter',
  'Rows Removed by Join Filter',
  'Rows Removed by Index Recheck',
];

/** Rows that the nodes of a plan gave or threw away. */
export function rowsRead(node: PlanNode): number {
  const own = counted.reduce((sum, key) => sum + Number(node[key] ?? 0), 0) * Number(node['Actual Loops'] ?? 1);
  return own + (node.Plans ?? []).reduce((sum, child) => sum + rowsRead(child), 0);
}
