import { query, readStatements } from '../../worker/base/db/sql.ts';
import type { Ground } from './ground.ts';

export type Verdict = { lost: number; doubled: number; stuck: number; violations: Violation[] };
export type Violation = { rule: string; [column: string]: unknown };

const rules = readStatements(import.meta.dirname, 'verdict.sql');

/**
 * Looks for what must not be, by SQL over what the triggers and the handlers wrote.
 * @param from `told`: the jobs that the client was told are committed; `faults`: what processes did that they should
 *   not have
 */
export async function judge(
  { db }: Ground,
  { told, faults }: { told: number[]; faults: Record<string, unknown>[] },
): Promise<Verdict> {
  const violations: Violation[] = faults.map((fault) => ({ rule: 'stuck_processes', ...fault }));
  for (const [rule, statement] of rules) {
    const rows = await query(db, statement, statement.params.includes('told') ? { told } : {});
    violations.push(...rows.map((row) => ({ rule, ...row })));
  }
  const count = (word: string) => violations.filter(({ rule }) => rule.startsWith(`${word}_`)).length;
  return { lost: count('lost'), doubled: count('doubled'), stuck: count('stuck'), violations };
}
