import assert from 'node:assert/strict';
import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { UsageError } from '../../../worker/base/errors.ts';
import { install } from '../../../worker/queue/install/install.ts';
import { runRowmill } from '../../support/cli.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';

// Migrations of the user's own tables, beside those of Rowmill.

async function prepare(t: TestContext, files: Record<string, string>, { schema }: { schema?: string } = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'own-migrations-'));
  const db = await createDatabase(schema ? { from: 'template0', schema } : {});
  t.after(() => Promise.all([db.drop(), rm(dir, { recursive: true })]));
  const write = async (more: Record<string, string>) => {
    for (const [name, sql] of Object.entries(more)) await writeFile(join(dir, name), sql);
  };
  await write(files);
  return { db, dir, write, migrate: () => install(db.url, [], dir) };
}

const ledger = async (db: TestDatabase, table = 'rowmill_own_migrations') =>
  (await db.query<{ name: string }>(`select name from ${table} order by applied_at, name`)).rows.map(
    ({ name }) => name,
  );

test('they are applied in the order of their numbers, once, with a ledger of their own', async (t) => {
  const { db, write, migrate } = await prepare(t, {
    '9_greetings.sql': 'create table greetings (id bigint)',
    '10_index.sql': `create index on greetings (id); insert into greetings select 1`,
    // A name that one of ours has.
    '0001_jobs.sql': 'create table own_jobs (id bigint)',
    'README.md': 'no migration',
  });
  assert.deepEqual(await migrate(), ['0001_jobs.sql', '9_greetings.sql', '10_index.sql']);
  assert.deepEqual(await migrate(), []);
  assert.equal((await ledger(db)).length, 3);
  assert.ok((await ledger(db, 'rowmill_migrations')).includes('0001_jobs.sql'));
  await write({
    '0011_queue.sql': `select create_queue('greeting', batch_size => 1, max_retries => 3, backoff_ms => 10)`,
  });
  assert.deepEqual(await migrate(), ['0011_queue.sql']);
  await db.query(`insert into greeting_jobs (kind) values ('x')`);
  assert.deepEqual((await db.query('select count(*) as n from greetings')).rows, [{ n: 1 }]);
});

test('they land in the schema of Rowmill’s tables, wherever a file leads', async (t) => {
  const { db, migrate } = await prepare(
    t,
    { '1_a.sql': 'create schema other; set search_path to other; create table a ()', '2_b.sql': 'create table b ()' },
    { schema: 'acme' },
  );
  assert.ok((await migrate()).includes('2_b.sql'));
  const { rows } = await db.query(
    `select schemaname, tablename from pg_tables where tablename in ('a', 'b', 'rowmill_own_migrations') order by 2`,
  );
  assert.deepEqual(
    rows.map((row) => Object.values(row).join('.')),
    ['other.a', 'acme.b', 'acme.rowmill_own_migrations'],
  );
});

test('a file that fails is named with its line, and nothing of it or of the others is there', async (t) => {
  const { db, dir, migrate, write } = await prepare(t, {
    '1_a.sql': 'create table a ()',
    '2_b.sql': 'create table b ();\n\ncreate tabel c ();\n',
  });
  await assert.rejects(migrate(), (error) => {
    assert.ok(error instanceof UsageError);
    const words = 'could not be applied: syntax error at or near "tabel". Nothing was changed.';
    assert.equal(error.message, `${join(dir, '2_b.sql')}:3 ${words}`);
    return true;
  });
  const there = await db.query(`select from pg_tables where tablename in ('a', 'rowmill_own_migrations')`);
  assert.equal(there.rowCount, 0);
  await write({ '2_b.sql': 'create table jobs ()' });
  await assert.rejects(migrate(), /2_b\.sql could not be applied: relation "jobs" already exists/);
});

test('an applied file that was changed, one without a number, and a missing folder are refused', async (t) => {
  const { db, dir, migrate, write } = await prepare(t, { '1_a.sql': 'create table a ()' });
  await migrate();
  await write({ '1_a.sql': 'create table a (id int)' });
  await assert.rejects(migrate(), /^UsageError: 1_a\.sql was changed after it was applied/);
  await unlink(join(dir, '1_a.sql'));
  await write({ 'users.sql': '' });
  await assert.rejects(migrate(), /users\.sql has no place in the order of migrations: .* such as 0001_users\.sql$/);
  await assert.rejects(install(db.url, [], '/nowhere'), /The folder of migrations \/nowhere cannot be read \(ENOENT\)/);
});

test('what the ledger says is for the owner alone', async (t) => {
  const { db, migrate } = await prepare(t, { '1_a.sql': 'create table a ()' });
  await migrate();
  const { rows } = await db.query(
    `select relrowsecurity, has_table_privilege('public', oid, 'select') as open from pg_class
     where relname = 'rowmill_own_migrations'`,
  );
  assert.deepEqual(rows, [{ relrowsecurity: true, open: false }]);
});

test('rowmill migrate --migrations applies them, and says so', async (t) => {
  const { db, dir } = await prepare(t, { '1_a.sql': 'create table a ()' });
  const env = { DATABASE_URL: db.url };
  const { stdout } = await runRowmill(['migrate', '--migrations', dir], { env });
  assert.equal(stdout, 'applied 1_a.sql\n');
  const again = await runRowmill(['migrate', '--json'], { env: { ...env, MIGRATIONS_DIR: dir } });
  assert.deepEqual(JSON.parse(again.stdout), { applied: [] });
});
