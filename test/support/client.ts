import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { PermanentError } from '../../worker/base/errors.ts';
import { createClient, type Client } from '../../worker/queue/client/client.ts';
import { createRig, type Rig } from './worker.ts';

// What the typed client adds and waits for: a worker serves media; cleanup is served by nobody.

export const echo = { name: 'media.echo', payload: z.object({ name: z.string(), count: z.number().default(1) }) };
export const slow = { name: 'media.slow', payload: z.object({ ms: z.number() }) };
export const failing = { name: 'media.failing', payload: z.object({}) };
export const idle = { name: 'cleanup.idle', payload: z.object({ n: z.number() }) };

/** A worker for these kinds, and a client. */
export type ClientRig = Rig & {
  client: Client;
  /** Runs `work`, with a client of its own, while nobody counts as a listener. */
  unheard(work: () => Promise<void>): Promise<void>;
};

export async function createClientRig(): Promise<ClientRig> {
  const rig = await createRig();
  await rig.db.query(`update queues set backoff_ms = 20; create table effects (job_id bigint)`);
  await rig.worker(
    {
      'media.echo': async ({ payload }) => payload,
      'media.slow': ({ payload, signal }) => sleep(Number(payload['ms']), 'slept', { signal }),
      'media.failing': () => Promise.reject(new PermanentError('no_such_thing', 'There is no such thing')),
      'media.flaky': async ({ job }) => {
        if (job.attempt < 3) throw new Error('not yet');
        return { attempts: job.attempt };
      },
      'media.effect': async ({ job, commit }) =>
        commit(async (tx) => void (await tx.query(`insert into effects values ($1)`, [job.id]))),
    },
    { QUEUES: 'media' },
  );
  const made: ClientRig = {
    ...rig,
    client: createClient(rig.db.url),
    async unheard(work) {
      await made.client.close();
      made.client = createClient(rig.db.url);
      await rig.db.query(`delete from listeners`);
      await work();
    },
    async close() {
      await made.client.close();
      await rig.close();
    },
  };
  return made;
}
