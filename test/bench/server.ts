import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient, type Client } from '../../worker/base/db/db.ts';
import { superuserUrlOf } from '../../worker/embedded/connection.ts';
import { openEmbeddedPostgres } from '../../worker/embedded/postgres.ts';
import { install } from '../../worker/queue/install/install.ts';

/**
 * The Postgres under all suites: the embedded one, durable (fsync on), with its own settings and nobody else on it; or
 * the one at BENCH_DATABASE_URL, whose user must be a superuser.
 */
export type Server = {
  /** Such as 18.4. */
  version: string;
  /** For whatever else a suite needs files for; removed at the end. */
  dir: string;
  /** A database of one's own, fresh: no statistics, and all written to disk before this resolves. */
  create(content: 'rowmill' | 'graphile-worker' | 'nothing'): Promise<Database>;
  stop(): Promise<void>;
};

/** One connection to a database, outside of what is measured; it sees tables by index wherever there is one. */
export type Database = Client & { url: string; drop(): Promise<void> };

export async function openServer(): Promise<Server> {
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-bench-'));
  // As root the server runs as another user.
  await chmod(dir, 0o755);
  const given = process.env['BENCH_DATABASE_URL'];
  const postgres = given ? { url: given, stop: async () => {} } : await openEmbedded(join(dir, 'data'));
  const admin = createClient(postgres.url);
  await admin.connect();
  const { rows } = await admin.query<{ server_version: string }>('show server_version');

  return {
    version: rows[0]!.server_version.split(' ')[0]!,
    dir,
    async create(content) {
      const name = `bench_${randomUUID().replaceAll('-', '')}`;
      await admin.query(`create database ${name}`);
      const url = new URL(postgres.url);
      url.pathname = `/${name}`;
      if (content === 'rowmill') await install(url.href);
      else if (content === 'graphile-worker') await installGraphileWorker(url.href);
      const client = createClient(url.href);
      // Where a suite fails, the server goes while connections are open; the failure is what is to be seen.
      client.on('error', () => {});
      await client.connect();
      await client.query('set enable_seqscan = off; set jit = off; checkpoint');
      return Object.assign(client, {
        url: url.href,
        async drop() {
          await client.end();
          await admin.query(`drop database ${name} with (force)`);
        },
      });
    },
    async stop() {
      await admin.end();
      await postgres.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function openEmbedded(dir: string): Promise<{ url: string; stop(): Promise<void> }> {
  const { dataPath, port, stop } = await openEmbeddedPostgres(dir);
  return { url: await superuserUrlOf(dataPath, port), stop };
}

async function installGraphileWorker(connectionString: string): Promise<void> {
  const { Logger, runMigrations } = await import('graphile-worker');
  await runMigrations({ connectionString, logger: new Logger(() => () => {}) });
}
