import { basename, dirname, join } from 'node:path';
import { readStatements, type Statement } from '../../worker/base/db/sql.ts';

const root = join(import.meta.dirname, '../..');

/** One statement of a `.sql` file, for a test that looks at it. @param path from the root of the repository */
export function statementOf(path: string, name: string): Statement {
  const statement = readStatements(join(root, dirname(path)), basename(path)).get(name);
  if (!statement) throw new Error(`${path} has no statement named ${name}`);
  return statement;
}
