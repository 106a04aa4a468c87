import { chown, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, relative } from 'node:path';
import { createClient, isTransient } from '../base/db/db.ts';
import { codeOf } from '../base/errors.ts';
import { passwordOf, type Role } from './cluster.ts';

/** How the worker connects. */
export const urlOf = (data: string, port: number) => roleUrl('rowmill', data, port);

/** How the superuser connects, to create databases and roles. A worker does not need it. */
export const superuserUrlOf = (data: string, port: number) => roleUrl('postgres', data, port);

/**
 * It says sslmode=disable explicitly, because a PGSSLMODE in the user's environment would ask for TLS. The database has
 * the name of its role.
 */
async function roleUrl(role: Role, data: string, port: number): Promise<string> {
  return `postgres://${role}:${await passwordOf(role, data)}@127.0.0.1:${port}/${role}?sslmode=disable`;
}

/** A command line to connect to the database; search_path leads to our tables. */
export const psqlLine = ({ dataDir, schema }: { dataDir: string; schema: string | undefined }): string =>
  (schema ? `PGOPTIONS='-c search_path=${schema}' ` : '') +
  `psql "$(cat ${relative('', join(dataDir, 'postgres.url'))})"`;

/** False: not yet, or no longer. @throws an error that asking again would not fix */
export async function answers(data: string, port: number): Promise<boolean> {
  try {
    await ask(await urlOf(data, port), 'select 1');
    return true;
  } catch (error) {
    // invalid_password: a new server, which has no such role. invalid_catalog_name: somebody dropped the database to
    // start over.
    if (codeOf(error) === '28P01')
      await prepare(data, port, `create role rowmill login password '${await passwordOf('rowmill', data)}'`);
    else if (codeOf(error) === '3D000') await prepare(data, port, 'create database rowmill owner rowmill');
    else if (!isTransient(error)) throw error;
    return false;
  }
}

async function prepare(data: string, port: number, statement: string): Promise<void> {
  try {
    await ask(await superuserUrlOf(data, port), statement);
  } catch (error) {
    // duplicate_database, duplicate_object, unique_violation, object_in_use: another process creates it at this moment.
    if (!['42P04', '42710', '23505', '55006'].includes(codeOf(error) ?? '') && !isTransient(error)) throw error;
  }
}

async function ask(url: string, statement: string): Promise<void> {
  const client = createClient(url);
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query(statement);
  } finally {
    await client.end().catch(() => {});
  }
}

/** The port of the last run, so that a connection string outlives a restart; another one if that is taken. */
export async function choosePort(dataDir: string): Promise<number> {
  const url = await readFile(join(dataDir, 'postgres.url'), 'utf8').catch(() => '');
  let port = Number(/@127\.0\.0\.1:(\d{4,5})\/rowmill/.exec(url)?.[1]);
  // Below the range from which systems take the ports of outgoing connections, so it stays free between two runs.
  while (!(port > 1023 && port < 65_536 && (await isFree(port)))) port = 20_000 + Math.floor(Math.random() * 12_000);
  return port;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1' }, () => server.close(() => resolve(true)));
  });
}

export async function writeUrl(dataDir: string, url: string): Promise<void> {
  const file = join(dataDir, 'postgres.url');
  if ((await readFile(file, 'utf8').catch(() => '')) === `${url}\n`) return;
  const fresh = `${file}.${process.pid}`;
  await writeFile(fresh, `${url}\n`, { mode: 0o600 });
  // Files that root writes into a user's directory belong to that user, so that the user can run without root later.
  const { uid, gid } = await stat(dataDir);
  if (process.getuid?.() === 0) await chown(fresh, uid, gid);
  await rename(fresh, file);
}
