import { appendFile, chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openEmbeddedPostgres, type EmbeddedPostgres } from '../../worker/embedded/postgres.ts';
import { install } from '../../worker/queue/install/install.ts';
import { useCluster } from './cluster.ts';
import { scratch } from './scratch.ts';

/** A Postgres of a test's own, migrated, which keeps its address when it is started again. */
export type OwnServer = {
  url: string;
  dir: string;
  /** Where its data is. */
  data: string;
  stop(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
};

/** @param settings lines of postgresql.conf */
export async function startOwnServer(settings: string[] = []): Promise<OwnServer> {
  const dir = await mkdtemp(join(scratch, 'rowmill-server-'));
  // As root the server runs as another user.
  await chmod(dir, 0o755);
  await useCluster(dir);
  await appendFile(join(dir, 'postgres/postgresql.conf'), `\n${settings.join('\n')}\n`);
  const open = () => openEmbeddedPostgres(dir, { durable: false });
  let postgres: EmbeddedPostgres = await open();
  await install(postgres.url);
  const { url, dataPath: data } = postgres;
  return {
    url,
    dir,
    data,
    stop: () => postgres.stop(),
    async start() {
      postgres = await open();
      if (postgres.url !== url) throw new Error('it came up at another address');
    },
    async close() {
      await postgres.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
