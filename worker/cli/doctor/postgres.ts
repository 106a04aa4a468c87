import { loadStatements, type Statement } from '../../base/db/sql.ts';
import { readAddress, type Address } from '../../base/address.ts';
import { createClient, type Client } from '../../base/db/db.ts';
import { messageOf } from '../../base/errors.ts';
import { direct, type Session } from '../../base/db/pooler.ts';
import { diagnose, explain, isUnreachable } from '../faults.ts';
import { checkCapacity } from './capacity.ts';
import { fail, ok, warn, type Check } from './check.ts';
import { checkDirect } from './direct.ts';
import { checkHorizon } from './horizon.ts';
import { checkHosting, unreachableFix } from './hosting.ts';
import { checkMigrations } from './migrations.ts';
import { checkSearch } from './search.ts';

const sql = loadStatements(import.meta.dirname, 'postgres.sql', [
  'server',
  'rights_to_make',
  'rights_to_work',
  'has_migrations',
  'migrations',
  'notifications',
]);

type Server = { version_num: number; version: string; database: string; now: Date };

/**
 * @param connections the most that one process opens
 * @returns `usable`: whether there are tables to check
 */
export async function checkPostgres(url: string, connections: number): Promise<{ checks: Check[]; usable: boolean }> {
  const checks: Check[] = [];
  const clients = [createClient(url), createClient(url)] as const;
  const hosting = checkHosting(url, connections);
  if (hosting) checks.push(hosting);
  try {
    await clients[0].connect();
    for await (const check of lookInto(clients, url, connections)) checks.push(check);
  } catch (error) {
    const { what, fix } = diagnose(error) ?? { what: messageOf(error) };
    const special = isUnreachable(error) ? unreachableFix(readAddress(url).host) : undefined;
    checks.push(fail('Postgres', what, special ?? fix));
  } finally {
    for (const client of clients) await client.end().catch(() => {});
  }
  return { checks, usable: checks.every(({ state }) => state !== 'fail') };
}

async function* lookInto([a, b]: readonly [Client, Client], url: string, connections: number): AsyncGenerator<Check> {
  const asked = Date.now();
  const server = await one<Server>(a, sql.server);
  const clock = checkClock(server.now, asked, Date.now());
  yield checkVersion(server);
  yield await second(b, () => checkDirect(a, b, url));
  yield checkEncryption(a, readAddress(url));
  yield await checkCapacity(a, connections);
  yield clock;
  yield* await checkHorizon(a);
  yield checkNotifications(await one(a, sql.notifications));

  const { found } = await one<{ found: boolean }>(a, sql.has_migrations);
  const rights = found ? await checkRightsToWork(a) : await checkRightsToMake(a, readAddress(url).schema);
  yield rights;
  if (rights.state === 'fail') return;
  const migrations = checkMigrations(found ? (await a.query(sql.migrations.text)).rows : []);
  yield migrations;
  if (migrations.state === 'ok') yield await checkSearch(a);
}

/** All checks but one need only one connection. */
async function second(b: Client, check: () => Promise<Check>): Promise<Check> {
  try {
    await b.connect();
  } catch (error) {
    const found = explain(error) ?? messageOf(error);
    return warn(
      'connection',
      `could not check for a transaction pooler: the check needs a second connection, and it failed. ${found}`,
      direct,
    );
  }
  return check();
}

/** Whether the connection is encrypted, and the certificate verified, as sslmode asks. */
function checkEncryption(client: Pick<Client, 'encrypted'>, address: Address): Check {
  const name = 'encryption';
  const { host, sslmode } = address;
  const local = !host || host.startsWith('/') || /^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(host);
  const verified = address.ssl && address.ssl.rejectUnauthorized;
  const stronger = 'set sslmode=verify-full in DATABASE_URL, and sslrootcert=/path/to/ca.pem for a private authority';
  if (!client.encrypted)
    return local
      ? ok(name, `none, and the connection stays on this machine (sslmode=${sslmode})`)
      : warn(name, `none (sslmode=${sslmode}): payloads and results can be read on the network`, stronger);
  if (verified)
    return ok(
      name,
      `TLS, certificate verified${sslmode === 'verify-full' ? '' : ', but not its host'} (sslmode=${sslmode})`,
    );
  const detail =
    `TLS, but the certificate is not verified (sslmode=${sslmode}): ` +
    'an attacker on the network can pretend to be the server';
  return local ? ok(name, detail) : warn(name, detail, stronger);
}

async function one<Row>(session: Session, statement: Statement): Promise<Row> {
  const { rows } = await session.query(statement.text);
  return rows[0] as Row;
}

export function checkVersion({ version_num, version, database }: Omit<Server, 'now'>): Check {
  const name = 'Postgres';
  const major = Math.floor(version_num / 10_000);
  const detail = `${version}, database ${database}`;
  if (major < 14) return fail(name, `${detail}: too old`, 'use version 14 to 18');
  if (major > 18)
    return warn(name, `${detail}: newer than the versions that Rowmill was tested with`, 'use version 14 to 18');
  return ok(name, detail);
}

const tolerableSkewMs = 2_000;

/** The database's clock was read between `asked` and `answered`. */
export function checkClock(theirs: Date, asked: number, answered: number): Check {
  const name = 'clock';
  const skewMs = theirs.getTime() - (asked + answered) / 2;
  const uncertainMs = (answered - asked) / 2;
  const seconds = (Math.abs(skewMs) / 1_000).toFixed(1);
  if (Math.abs(skewMs) - uncertainMs < tolerableSkewMs) return ok(name, `${seconds} s from the database's`);
  return warn(
    name,
    `this machine is ${seconds} s ${skewMs > 0 ? 'behind' : 'ahead of'} the database`,
    'let NTP set both clocks. Jobs use the clock of the database, but S3 refuses requests that are 15 minutes off',
  );
}

/**
 * A full queue fails every commit that carries a notification. From 90 % on, Rowmill sends none, and its workers poll.
 */
export function checkNotifications({ usage }: { usage: number }): Check {
  const name = 'notify';
  const detail = `the queue of notifications is ${Math.round(usage * 100)} % full`;
  if (usage < 0.25) return ok(name, detail);
  return warn(
    name,
    `${detail}: a session that listens has kept a transaction open for a long time. ` +
      'New jobs start late, and NOTIFY fails when the queue is full',
    'end that transaction: sql/monitor/long_transactions.sql shows it',
  );
}

async function checkRightsToMake(session: Session, wanted: string | undefined): Promise<Check> {
  const rights = await one<{ role: string; schema: string | null; may_make_schema: boolean; may_make_tables: boolean }>(
    session,
    sql.rights_to_make,
  );
  const { role, schema, may_make_schema, may_make_tables } = rights;
  if (wanted && !schema)
    return may_make_schema
      ? ok('rights', `role ${role} may make schema ${wanted} and its tables`)
      : fail('rights', `role ${role} may not create schema ${wanted}`, 'connect as the owner of the database');
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
    sql.rights_to_work,
  );
  const { role, may_work, sees_no_rows, owns } = rights;
  const fix = 'connect as the owner of the tables';
  if (!may_work)
    return fail('rights', `role ${role} may not read and write the tables of Rowmill and its tickets`, fix);
  if (sees_no_rows) return fail('rights', `row level security hides all jobs from role ${role}`, fix);
  if (!owns) return warn('rights', `role ${role} may work, but not migrate: the tables belong to another role`, fix);
  return ok('rights', `role ${role} owns the tables`);
}
