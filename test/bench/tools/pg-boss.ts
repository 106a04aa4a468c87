import { loadPeer } from '../peers.ts';
import type { Server } from '../server.ts';
import type { Tally } from '../tally.ts';
import { padding, type Payload, type Queue, type WorkOptions } from './tool.ts';

// pg-boss with the settings that measured best: batches of 200 by four workers, claimed one after the other while they
// come full, and no maintenance meanwhile.

type Boss = {
  on(event: 'error', listener: (error: Error) => void): void;
  start(): Promise<unknown>;
  stop(options: { graceful: boolean }): Promise<void>;
  createQueue(name: string): Promise<void>;
  insert(name: string, jobs: { data: object }[]): Promise<unknown>;
  work(name: string, options: object, handler: (jobs: { data: Payload }[]) => Promise<void>): Promise<string>;
};
type Module = { PgBoss: new (options: object) => Boss };

const workers = 4;
const batchSize = 200;
const insertAtOnce = 5_000;

export async function create(server: Server): Promise<Queue> {
  const db = await server.create('nothing');
  const boss = await open(db.url);
  await boss.createQueue('noop');
  return {
    tool: 'pg-boss',
    url: db.url,
    async insert(count) {
      for (let from = 1; from <= count; from += insertAtOnce) {
        const size = Math.min(insertAtOnce, count - from + 1);
        await boss.insert(
          'noop',
          Array.from({ length: size }, (_, index) => ({ data: { n: from + index, pad: padding } })),
        );
      }
    },
    async left() {
      const { rows } = await db.query<{ jobs: number }>(
        `select count(*) as jobs from pgboss.job where name = 'noop' and state < 'completed'`,
      );
      return rows[0]!.jobs;
    },
    async close() {
      await boss.stop({ graceful: false });
      await db.drop();
    },
  };
}

export async function work({ url }: WorkOptions, tally: Tally): Promise<() => Promise<void>> {
  const boss = await open(url);
  await boss.work(
    'noop',
    { batchSize, localConcurrency: workers, pollingIntervalSeconds: 0.5, burstWhenBatchFull: true },
    async (jobs) => {
      for (const { data } of jobs) tally.handle(data);
    },
  );
  return () => boss.stop({ graceful: false });
}

async function open(connectionString: string): Promise<Boss> {
  const { PgBoss } = await loadPeer<Module>('pg-boss');
  const boss = new PgBoss({ connectionString, max: 10, supervise: false, schedule: false });
  boss.on('error', (error) => console.error(error.message));
  await boss.start();
  return boss;
}
