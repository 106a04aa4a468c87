import { randomUUID } from 'node:crypto';
import { loadPeer, redisUrl } from '../peers.ts';
import type { Server } from '../server.ts';
import type { Tally } from '../tally.ts';
import { padding, type Payload, type Queue, type WorkOptions } from './tool.ts';

// BullMQ on Redis: bulk inserts, jobs removed when they complete. Redis writes to disk when it is set to, which by
// default is seldom.

type Connection = { quit(): Promise<unknown>; disconnect(): void; on(event: 'error', listener: () => void): void };
type BullQueue = {
  addBulk(jobs: { name: string; data: object; opts: object }[]): Promise<unknown>;
  getJobCountByTypes(...types: string[]): Promise<number>;
  obliterate(options: { force: boolean }): Promise<void>;
  close(): Promise<void>;
};
type BullWorker = { waitUntilReady(): Promise<unknown>; close(force: boolean): Promise<void> };
type Module = {
  Queue: new (name: string, options: object) => BullQueue;
  Worker: new (name: string, handler: (job: { data: Payload }) => Promise<void>, options: object) => BullWorker;
};
type Redis = { Redis: new (url: string, options: object) => Connection };

const insertAtOnce = 1_000;

export async function create(_server: Server): Promise<Queue> {
  const { Queue } = await loadPeer<Module>('bullmq');
  const connection = await open();
  const name = `rowmill-bench-${randomUUID()}`;
  const queue = new Queue(name, { connection });
  return {
    tool: 'bullmq',
    url: name,
    async insert(count) {
      for (let from = 1; from <= count; from += insertAtOnce) {
        const size = Math.min(insertAtOnce, count - from + 1);
        const job = (n: number) => ({ name: 'noop', data: { n, pad: padding }, opts: { removeOnComplete: true } });
        await queue.addBulk(Array.from({ length: size }, (_, index) => job(from + index)));
      }
    },
    left: () => queue.getJobCountByTypes('waiting', 'active', 'prioritized', 'delayed'),
    async close() {
      await queue.obliterate({ force: true });
      await queue.close();
      await connection.quit();
    },
  };
}

export async function work({ url: name, concurrency }: WorkOptions, tally: Tally): Promise<() => Promise<void>> {
  const { Worker } = await loadPeer<Module>('bullmq');
  const connection = await open();
  const handler = async ({ data }: { data: Payload }) => tally.handle(data);
  const worker = new Worker(name, handler, { connection, concurrency, removeOnComplete: { count: 0 } });
  await worker.waitUntilReady();
  return async () => {
    await worker.close(true);
    connection.disconnect();
  };
}

async function open(): Promise<Connection> {
  const { Redis } = await loadPeer<Redis>('ioredis');
  const connection = new Redis(redisUrl(), { maxRetriesPerRequest: null });
  connection.on('error', () => {});
  return connection;
}
