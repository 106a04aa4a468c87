import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '../base/db/db.ts';
import { superuserUrlOf } from '../embedded/connection.ts';
import { openEmbeddedPostgres } from '../embedded/postgres.ts';

type Server = { url: string; superuserUrl: string; stop(): Promise<void> };

/**
 * One embedded server for all databases of this process. It starts with the first database, and ends with the last one,
 * or with the process.
 */
let server: Promise<Server> | undefined;
let databases = 0;

/** An empty database of its own, on an embedded Postgres. @throws UsageError if none can run here */
export async function createTestDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  databases++;
  try {
    const { url, superuserUrl } = await (server ??= startServer());
    const name = `test_${randomUUID().replaceAll('-', '')}`;
    await ask(superuserUrl, `create database ${name} owner rowmill`);
    const address = new URL(url);
    address.pathname = `/${name}`;
    return {
      url: address.href,
      async drop() {
        await ask(superuserUrl, `drop database ${name} with (force)`);
        await release();
      },
    };
  } catch (error) {
    await release();
    throw error;
  }
}

async function release(): Promise<void> {
  if (--databases > 0) return;
  const last = server;
  server = undefined;
  await last?.then(
    ({ stop }) => stop(),
    () => {},
  );
}

async function startServer(): Promise<Server> {
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-testing-'));
  const remove = () => rm(dir, { recursive: true, force: true });
  try {
    const postgres = await openEmbeddedPostgres(dir, { durable: false });
    return {
      url: postgres.url,
      superuserUrl: await superuserUrlOf(postgres.dataPath, postgres.port),
      stop: () => postgres.stop().then(remove),
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function ask(url: string, statement: string): Promise<void> {
  const client = createClient(url);
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
