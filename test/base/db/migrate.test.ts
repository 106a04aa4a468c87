import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFile, cp, mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import type pg from 'pg';
import { createClient } from '../../../worker/base/db/db.ts';
import { UsageError } from '../../../worker/base/errors.ts';
import { applyMigrations, pendingMigrations, whileMigrating } from '../../../worker/base/db/migrate.ts';
import { install } from '../../../worker/queue/install/install.ts';
import { createDatabase, template } from '../../support/database.ts';

const migrations = join(import.meta.dirname, '../../../migrations');

/** A client of a database that has only what `from` has. */
async function connect(t: TestContext, from: string): Promise<pg.Client & { url: string }> {
  const db = await createDatabase({ from });
  const client = createClient(db.url);
  await client.connect();
  t.after(async () => {
    await client.end();
    await db.drop();
  });
  return Object.assign(client, { url: db.url });
}

/** A copy of migrations/, to be changed. */
async function copyOfMigrations(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-migrations-'));
  t.after(() => rm(dir, { recursive: true }));
  await cp(migrations, dir, { recursive: true });
  return dir;
}

const migrate = (client: pg.Client, dir: string) =>
  whileMigrating(client, undefined, async (names) =>
    applyMigrations(client, names, await pendingMigrations(client, dir, names)),
  );

const applied = async (client: pg.Client) =>
  (await client.query<{ name: string }>('select name from rowmill_migrations order by name')).rows.map(
    (row) => row.name,
  );

suite('at once', () => {
  test('several clients: one applies all, the others wait and find nothing to do', async (t) => {
    const client = await connect(t, 'template0');
    const results = await Promise.all(Array.from({ length: 5 }, () => install(client.url)));
    const names = await applied(client);
    assert.ok(names.length >= 4);
    assert.deepEqual(
      results.filter((result) => result.length > 0),
      [names],
    );
  });

  test('several processes', async (t) => {
    const client = await connect(t, 'template0');
    const script = `const { install } = await import(process.argv[1]);
                    console.log((await install(process.argv[2])).length)`;
    const started = [1, 2, 3].map(() =>
      promisify(execFile)(process.execPath, [
        '--input-type=module',
        '-e',
        script,
        join(migrations, '../worker/queue/install/install.ts'),
        client.url,
      ]),
    );
    const counts = (await Promise.all(started)).map(({ stdout }) => Number(stdout)).filter(Boolean);
    assert.deepEqual(counts, [(await applied(client)).length]);
  });

  test('whoever waits goes on when the one before fails', async (t) => {
    const first = await connect(t, 'template0');
    const other = createClient(first.url);
    await other.connect();
    const order: string[] = [];
    const { promise: entered, resolve: enter } = Promise.withResolvers<void>();
    const failing = whileMigrating(first, undefined, async () => {
      order.push('in');
      enter();
      await first.query('select pg_sleep(0.2)');
      order.push('out');
      throw new Error('no');
    });
    await entered;
    const waiting = whileMigrating(other, undefined, async () => void order.push('next'));
    await assert.rejects(failing, /^Error: no$/);
    await waiting;
    await other.end();
    assert.deepEqual(order, ['in', 'out', 'next']);
  });
});

suite('the files', () => {
  test('are applied in order of their names, and each once', async (t) => {
    const client = await connect(t, template);
    const dir = await copyOfMigrations(t);
    const before = await applied(client);
    assert.deepEqual(before, before.toSorted());
    assert.deepEqual(await migrate(client, dir), []);

    await writeFile(join(dir, '9002_second.sql'), 'insert into probes values (2)');
    await writeFile(join(dir, '9001_first.sql'), 'create table probes (n integer); insert into probes values (1)');
    await writeFile(join(dir, 'README.md'), 'no migration');
    assert.deepEqual(await migrate(client, dir), ['9001_first.sql', '9002_second.sql']);
    assert.deepEqual(await migrate(client, dir), []);
    assert.deepEqual((await client.query('select n from probes order by n')).rows, [{ n: 1 }, { n: 2 }]);
  });

  test('must not change once applied: the changed one is named', async (t) => {
    const client = await connect(t, template);
    const dir = await copyOfMigrations(t);
    await appendFile(join(dir, '0002_triggers.sql'), '-- a word more\n');
    await writeFile(join(dir, '9001_new.sql'), 'create table probes ()');
    await assert.rejects(migrate(client, dir), (error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, /^0002_triggers\.sql was changed after it was applied/);
      return true;
    });
    assert.equal((await client.query(`select to_regclass('probes') as made`)).rows[0].made, null);
  });

  test('of a newer release do not stop an older one', async (t) => {
    const client = await connect(t, template);
    const dir = await copyOfMigrations(t);
    await writeFile(join(dir, '9001_newer.sql'), 'create table probes ()');
    await migrate(client, dir);
    await unlink(join(dir, '9001_newer.sql'));
    assert.deepEqual(await migrate(client, dir), []);
  });

  test('are applied all or none: one that fails is named', async (t) => {
    const client = await connect(t, template);
    const dir = await copyOfMigrations(t);
    const before = await applied(client);
    await writeFile(join(dir, '9001_good.sql'), 'create table good ()');
    await writeFile(join(dir, '9002_bad.sql'), 'create table half (); select 1 / 0;');
    await writeFile(join(dir, '9003_later.sql'), 'create table later ()');
    await assert.rejects(migrate(client, dir), /9002_bad\.sql could not be applied: division by zero/);
    const { rows } = await client.query(
      `select to_regclass('good')::text as good, to_regclass('half') as half, to_regclass('later') as later`,
    );
    assert.deepEqual(rows, [{ good: null, half: null, later: null }]);
    assert.deepEqual(await applied(client), before);
    await writeFile(join(dir, '9002_bad.sql'), 'create table half ()');
    assert.deepEqual(await migrate(client, dir), ['9001_good.sql', '9002_bad.sql', '9003_later.sql']);
  });
});

test('a connection whose search_path has no schema is told so', async (t) => {
  const client = await connect(t, 'template0');
  const url = new URL(client.url);
  url.searchParams.set('options', '-c search_path=nowhere');
  await assert.rejects(install(url.href), (error) => {
    assert.ok(error instanceof UsageError);
    assert.match(error.message, /search_path does not exist/);
    return true;
  });
});
