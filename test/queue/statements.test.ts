import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { bind, readStatements } from '../../worker/base/db/sql.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { addSomeJobs, addSupabaseRoles, rolledBack, sqlFiles } from '../support/sql-files.ts';

// All our SQL against the migrated schema: a renamed column fails here, and not at night.

const root = join(import.meta.dirname, '../..');
const identifiers = {
  tickets: 'rowmill_tickets',
  schema: 'public',
  leaf: 'media_jobs_live',
  live: 'media_jobs_live',
  done: 'media_jobs_done',
  jobs: 'media_jobs',
  table: 'webhook_endpoints',
  key: 'id',
  column: 'secret',
};

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

for (const { path } of sqlFiles('worker')) {
  suite(path, () => {
    const statements = readStatements(join(root, dirname(path)), basename(path));
    const users = globSync('*.ts', { cwd: join(root, dirname(path)) })
      .map((file) => readFileSync(join(root, dirname(path), file), 'utf8'))
      .join('\n');
    for (const [name, statement] of statements) {
      // Postgres prepares no VACUUM.
      if (name !== 'vacuum')
        test(`${name} fits the schema`, () =>
          rolledBack(db, async (tx) => {
            await tx.query(`prepare tried as ${bind(statement, identifiers).text}`);
            await tx.query('deallocate tried');
          }));
      test(`${name} is used by the code beside it`, () => {
        assert.match(users, new RegExp(`\\b(sql|statements)\\.${name}\\b`));
      });
    }
  });
}

for (const { path, text } of sqlFiles('sql/monitor', 'sql/operate', 'sql/enqueue')) {
  suite(path, () => {
    test('runs as it stands', () =>
      rolledBack(db, async (tx) => {
        await addSupabaseRoles(tx);
        await addSomeJobs(tx);
        await tx.query(text);
      }));

    test('says first what it is for, and begins no transaction', () => {
      assert.match(text, /^-- [A-Z]/);
      assert.doesNotMatch(text, /^\s*(begin|commit|rollback)\b/im);
    });
  });
}
