import { loadStatements } from '../../base/sql.ts';
import { createClient } from '../../base/db.ts';
import { messageOf } from '../../base/errors.ts';
import type { Session } from '../../base/pooler.ts';
import { diagnose } from '../faults.ts';
import { checkCapacity } from './capacity.ts';
import { fail, ok, warn, type Check } from './check.ts';
import { checkDirect } from './direct.ts';
import { checkHorizon } from './horizon.ts';
import { checkMigrations } from './migrations.ts';

const sql = loadStatements(import.meta.dirname, 'postgres.sql');

type Server = { version_num: number; version: string; database: string; now: Date };

/** @returns `usable`: whether there are tables to look into */
export async function checkPostgres(url: string): Promise<{ checks: Check[]; usable: boolean }> {
  const checks: Check[] = [];
  const clients = [createClient(url), createClient(url)] as const;
  for (const client of clients) client.on('error', () => {});
  try {
    for (const client of clients) await client.connect();
    for await (const check of lookInto(clients, url)) checks.push(check);
  } catch (error) {
    const { what, mend } = diagnose(error) ?? { what: messageOf(error) };
    checks.push(fail('Postgres', what, mend));
  } finally {
    for (const client of clients) await client.end().catch(() => {});
  }
  return { checks, usable: checks.every(({ state }) => state !== 'fail') };
}

async function* lookInto([a, b]: readonly [Session, Session], url: string): AsyncGenerator<Check> {
  const asked = Date.now();
  const server = await one<Server>(a, 'server');
  const clock = checkClock(server.now, asked, Date.now());
  yield checkVersion(server);
  yield await checkDirect(a, b, url);
  yield await checkCapacity(a);
  yield clock;
  yield* await checkHorizon(a);

  const { found } = await one<{ found: boolean }>(a, 'has_migrations');
  const rights = found ? await checkRightsToWork(a) : await checkRightsToMake(a);
  yield rights;
  if (rights.state === 'fail') return;
  yield checkMigrations(found ? (await a.query(sql['migrations']!.text)).rows : []);
}

async function one<Row>(session: Session, name: string): Promise<Row> {
  const { rows } = await session.query(sql[name]!.text);
  return rows[0] as Row;
}

export function checkVersion({ version_num, version, database }: Omit<Server, 'now'>): Check {
  const name = 'Postgres';
  const major = Math.floor(version_num / 10_000);
  const detail = `${version}, database ${database}`;
  if (major < 14) return fail(name, `${detail}: too old`, 'use version 14 to 18');
  if (major > 18) return warn(name, `${detail}: newer than what Rowmill was tried with`, 'use version 14 to 18');
  return ok(name, detail);
}

const tolerableSkewMs = 2_000;

/** The database's clock is read somewhere between `asked` and `answered`. */
export function checkClock(theirs: Date, asked: number, answered: number): Check {
  const name = 'clock';
  const skewMs = theirs.getTime() - (asked + answered) / 2;
  const uncertainMs = (answered - asked) / 2;
  const seconds = (Math.abs(skewMs) / 1_000).toFixed(1);
  if (Math.abs(skewMs) - uncertainMs < tolerableSkewMs) return ok(name, `${seconds} s from the database's`);
  return warn(
    name,
    `this machine is ${seconds} s ${skewMs > 0 ? 'behind' : 'ahead of'} the database`,
    'set both by NTP; jobs run by the database clock all the same, but S3 refuses requests that are 15 minutes off',
  );
}

async function checkRightsToMake(session: Session): Promise<Check> {
  const rights = await one<{ role: string; schema: string | null; may_make_schema: boolean; may_make_tables: boolean }>(
    session,
    'rights_to_make',
  );
  const { role, schema, may_make_schema, may_make_tables } = rights;
  if (!schema)
    return fail(
      'rights',
      'the first schema of search_path does not exist',
      `create it, or alter role ${role} set search_path`,
    );
  if (!may_make_schema || !may_make_tables)
    return fail(
      'rights',
      `role ${role} may not create ${may_make_schema ? `tables in schema ${schema}` : 'a schema in this database'}`,
      'connect as the owner of the database',
    );
  return ok('rights', `role ${role} may make the tables, in schema ${schema}`);
}

async function checkRightsToWork(session: Session): Promise<Check> {
  const rights = await one<{ role: string; may_work: boolean; sees_no_rows: boolean; owns: boolean }>(
    session,
    'rights_to_work',
  );
  const { role, may_work, sees_no_rows, owns } = rights;
  const mend = 'connect as the owner of the tables';
  if (!may_work)
    return fail('rights', `role ${role} may not read and write the tables of Rowmill and graphile_worker`, mend);
  if (sees_no_rows) return fail('rights', `row level security hides all jobs from role ${role}`, mend);
  if (!owns) return warn('rights', `role ${role} may work, but not migrate: the tables are another's`, mend);
  return ok('rights', `role ${role} owns the tables`);
}
