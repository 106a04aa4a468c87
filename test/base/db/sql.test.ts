import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { bind, bindEach, loadStatements, query, readStatements, type Statement } from '../../../worker/base/db/sql.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';

const dir = mkdtempSync(join(tmpdir(), 'rowmill-sql-'));
let db: TestDatabase;
before(async () => {
  db = await createDatabase({ from: 'template0' });
});
after(async () => {
  await db.drop();
  rmSync(dir, { recursive: true });
});

function load(text: string): Map<string, Statement> {
  writeFileSync(join(dir, 'some.sql'), text);
  return readStatements(dir, 'some.sql');
}

/** The one statement of a file. */
const loadOne = (text: string): Statement => [...load(text).values()][0]!;

/** The one statement of a file, as it is sent. */
function sent(text: string): [string, string[]] {
  const { text: whole, params } = loadOne(`-- name: it\n${text}`);
  return [whole, params];
}

suite('a file', () => {
  test('has its statements by name, without what stands before the first', () => {
    const statements = load(`-- What this file is for, and :nothing else.

-- name: first
-- Why.
select 1;

-- name: second
select 2
 where true;
`);
    assert.deepEqual(
      [...statements].map(([name, { text, params }]) => [name, text, params]),
      [
        ['first', 'select 1', []],
        ['second', 'select 2\n where true', []],
      ],
    );
  });

  test('must have the statements that the code lists, and no others', () => {
    load(`-- name: first\nselect 1;\n-- name: second\nselect 2;`);
    const listed = loadStatements(dir, 'some.sql', ['first'], ['second', 'third']);
    assert.deepEqual([listed.first.text, listed.second?.text, listed.third], ['select 1', 'select 2', undefined]);
    // @ts-expect-error A name that is not listed fails in the type check.
    assert.equal(listed.frist, undefined);
    assert.throws(() => loadStatements(dir, 'some.sql', ['first', 'frist']), /some\.sql has no statement named frist/);
    assert.throws(() => loadStatements(dir, 'some.sql', ['first']), /some\.sql has a statement named second, which/);
  });

  test('may bind all its statements at once', () => {
    load(`-- name: first\nselect 1 from :"live";\n-- name: second\nselect 2;`);
    const { first, second } = bindEach(loadStatements(dir, 'some.sql', ['first', 'second']), { live: 'a' });
    assert.deepEqual([first.text, second.text], ['select 1 from "a"', 'select 2']);
  });

  test('refuses a statement without a name', () => {
    assert.throws(() => load(`-- name: \nselect 1;`), /some\.sql: a statement without a name/);
  });
});

suite('a parameter', () => {
  const cases: [string, string, string[], string][] = [
    ['has the number of its first use', 'select :a, :b', ['a', 'b'], 'select $1, $2'],
    ['keeps its number', 'select :a, :b, :a', ['a', 'b'], 'select $1, $2, $1'],
    ['may be cast', 'select :a::int + :b::text[]', ['a', 'b'], 'select $1::int + $2::text[]'],
    ['may be a named argument', 'select f(x => :a, y := :b)', ['a', 'b'], 'select f(x => $1, y := $2)'],
    ['may hold digits and underscores', 'select :dead_after_2', ['dead_after_2'], 'select $1'],
    ['is none in a string', `select ':a', 'it''s :b', :c`, ['c'], `select ':a', 'it''s :b', $1`],
    ['is none in a quoted name', 'select "x:a", :b', ['b'], 'select "x:a", $1'],
    ['is none in a comment', `select 1 -- it's :a\n, :b`, ['b'], 'select 1 \n, $1'],
    ['is none in a cast', 'select x::text, y::"char"', [], 'select x::text, y::"char"'],
    ['is none in a slice', 'select (x)[1:2]', [], 'select (x)[1:2]'],
    ['stands behind what only looks like a comment', `select '--' || :a`, ['a'], `select '--' || $1`],
    ['is no identifier', 'select :"live".id, :live', ['live'], 'select :"live".id, $1'],
  ];
  for (const [name, text, params, expected] of cases)
    test(name, () => assert.deepEqual(sent(text), [expected, params]));
});

suite('an identifier', () => {
  test('is filled in by bind, quoted, wherever it stands', () => {
    const it = loadOne(`-- name: it\nselect :"live".id from :"live" where id = :id and note = ':live'`);
    const bound = bind(it, { live: 'media_jobs_live' });
    assert.equal(bound.text, `select "media_jobs_live".id from "media_jobs_live" where id = $1 and note = ':live'`);
    assert.deepEqual(bound.params, ['id']);
    assert.match(bind(it, { live: 'x"; drop table jobs; --' }).text, /from "x""; drop table jobs; --" where/);
  });

  test('must be given', () => {
    const it = loadOne(`-- name: it\nselect 1 from :"live"`);
    assert.throws(() => bind(it, { done: 'x' }), /no identifier given for :"live"/);
  });

  test('makes a prepared statement for each table, also where the name is long', async () => {
    const statement = loadOne(`-- name: ${'long_'.repeat(10)}name\nselect 1 from :"live"`);
    const client = await db.connect();
    try {
      await client.query('create temporary table a (); create temporary table b ()');
      for (const live of ['a', 'b', 'a']) await query(client, bind(statement, { live }));
      const { rows } = await client.query(`select name from pg_prepared_statements where name like 'long_%'`);
      assert.equal(rows.length, 2);
    } finally {
      client.release();
    }
  });
});

suite('a query', () => {
  test('gives its rows, with bigints as numbers, and takes null', async () => {
    const answers = loadOne(`-- name: answers\nselect :a::bigint as a, :b::text is null as b, :a::int + 1 as c`);
    assert.deepEqual(await query(db, answers, { b: null, a: 4 }), [{ a: 4, b: true, c: 5 }]);
    assert.deepEqual(await query(db, answers, { b: 'x', a: 5 }), [{ a: 5, b: false, c: 6 }]);
  });

  test('refuses values that are missing, undefined, or not asked for', async () => {
    const asks = loadOne(`-- name: asks\nselect :a::int, :b::int`);
    await assert.rejects(query(db, asks, { a: 1 }), /no value for b/);
    await assert.rejects(query(db, asks, { a: undefined, b: 1 }), /no value for a/);
    await assert.rejects(query(db, asks, { a: 1, b: 2, c: 3 }), /has no parameter c/);
    await assert.rejects(query(db, asks), /no value for a, b/);
  });

  test('never puts a value into the text', async () => {
    const quotes = loadOne(`-- name: quotes\nselect :a as a`);
    const value = `'; drop table jobs; -- :b $1 :"live"`;
    assert.deepEqual(await query(db, quotes, { a: value }), [{ a: value }]);
  });

  test('is prepared once a connection', async () => {
    const prepares = loadOne(`-- name: prepares\nselect :a::int as a`);
    const client = await db.connect();
    try {
      for (const a of [1, 2, 3]) await query(client, prepares, { a });
      const { rows } = await client.query(
        `select count(*) as count from pg_prepared_statements where name like 'prepares%'`,
      );
      assert.deepEqual(rows, [{ count: 1 }]);
    } finally {
      client.release();
    }
  });

  test('runs beside one of the same name from another file', async () => {
    const one = loadOne(`-- name: load_file\nselect 1 as file`);
    const other = loadOne(`-- name: load_file\nselect 2 as file`);
    const client = await db.connect();
    try {
      assert.deepEqual(await query(client, one), [{ file: 1 }]);
      assert.deepEqual(await query(client, other), [{ file: 2 }]);
    } finally {
      client.release();
    }
  });
});
