import { chown, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createClient, isTransient } from '../base/db.ts';
import { codeOf } from '../base/errors.ts';
import { passwordOf } from './cluster.ts';

/** Without TLS in so many words, or a PGSSLMODE in the user's environment would ask for it. */
export async function urlOf(data: string, port: number): Promise<string> {
  return `postgres://rowmill:${await passwordOf(data)}@127.0.0.1:${port}/rowmill?sslmode=disable`;
}

/** False: not yet, or no more. @throws what asking again would not mend */
export async function answers(url: string): Promise<boolean> {
  try {
    await ask(url, 'select 1');
    return true;
  } catch (error) {
    // invalid_catalog_name: a new server, or somebody dropped the database to start over.
    if (codeOf(error) === '3D000') await createDatabase(url);
    else if (!isTransient(error)) throw error;
    return false;
  }
}

async function createDatabase(url: string): Promise<void> {
  try {
    await ask(url.replace('/rowmill?', '/postgres?'), 'create database rowmill');
  } catch (error) {
    // duplicate_database, unique_violation, object_in_use: another process creates it at this moment.
    if (!['42P04', '23505', '55006'].includes(codeOf(error) ?? '') && !isTransient(error)) throw error;
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

/** The port of last time, so that a connection string outlives a restart; another one where that is taken. */
export async function choosePort(dataDir: string): Promise<number> {
  const url = await readFile(join(dataDir, 'postgres.url'), 'utf8').catch(() => '');
  let port = Number(/@127\.0\.0\.1:(\d{4,5})\/rowmill/.exec(url)?.[1]);
  // Below the range from which systems take the ports of outgoing connections, so that it stays free between two runs.
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
  // What root writes into somebody's directory stays theirs, for the day they run without root.
  const { uid, gid } = await stat(dataDir);
  if (process.getuid?.() === 0) await chown(fresh, uid, gid);
  await rename(fresh, file);
}
