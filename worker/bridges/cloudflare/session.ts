import { isUtf8 } from 'node:buffer';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CloudflareConfig, CloudflareQueue } from '../../base/config/cloudflare.ts';
import { transaction, type Db } from '../../base/db/db.ts';
import type { Sealer } from '../../queue/client/add.ts';
import { ingest, type Outcome } from '../../queue/ingest/ingest.ts';
import type { Message } from '../../queue/ingest/message.ts';
import type { Tell } from '../bridge.ts';
import { addressed, objectIn } from '../envelope.ts';
import { call, CloudflareError, type Pulled } from './api.ts';

type Parts = { queue: CloudflareQueue; config: CloudflareConfig; db: Db; sealer: Sealer | undefined };

const atOnce = 100;
/** How long a message is given to nobody else. Each delivery counts, and Cloudflare drops a message after some. */
const hiddenMs = 60_000;
/** There is no long poll. While nothing comes, the pause grows. */
const pauseMs = { least: 1_000, most: 10_000 };

/**
 * Takes the messages of one queue. A message is acknowledged after the commit of its job. If that fails it comes again,
 * and is known by its id.
 * @throws why it ended
 */
export async function runSession(parts: Parts, { opened, took }: Tell, signal: AbortSignal): Promise<void> {
  const { queue, config } = parts;
  let pause = pauseMs.least;
  let isOpen = false;
  while (!signal.aborted) {
    const taken = await takeSome(parts, signal).catch((error: unknown) => {
      if (signal.aborted) return undefined;
      if (isOpen && error instanceof CloudflareError && error.waitMs !== undefined)
        return Math.max(error.waitMs, pauseMs.most);
      throw error;
    });
    if (taken === undefined) return;
    if (!isOpen) opened();
    isOpen = true;
    if (typeof taken === 'number') await rest(taken, signal);
    else {
      const { messages, outcomes } = taken;
      took(outcomes);
      if (messages.length > 0) await answer(config, queue, { acks: leasesOf(messages), retries: [] });
      if (messages.length === atOnce) continue;
      pause = messages.length > 0 ? pauseMs.least : Math.min(pause * 1.5, pauseMs.most);
      await rest(pause, signal);
    }
  }
}

const rest = (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal }).catch(() => {});

type Taken = { messages: Pulled[]; outcomes: Outcome[] };

/** @returns the messages that are committed */
async function takeSome({ queue, config, db, sealer }: Parts, signal: AbortSignal): Promise<Taken> {
  const wanted = { batch_size: atOnce, visibility_timeout_ms: hiddenMs };
  const { messages } = (await call(config, queue.id, 'pull', wanted, signal)) as { messages?: Pulled[] };
  if (!Array.isArray(messages) || messages.length === 0) return { messages: [], outcomes: [] };
  const given = messages.map((message) => messageOf(message, queue));
  try {
    const outcomes = await transaction(db, (tx) => ingest(tx, `cloudflare:${queue.id}`, given, sealer));
    return { messages, outcomes };
  } catch (error) {
    // Others may have them at once.
    await answer(config, queue, { acks: [], retries: leasesOf(messages) }).catch(() => {});
    throw error;
  }
}

type Answer = { acks: Pick<Pulled, 'lease_id'>[]; retries: Pick<Pulled, 'lease_id'>[] };

/** Also while the worker stops: what is committed need not come again. */
async function answer(config: CloudflareConfig, { id }: CloudflareQueue, leases: Answer): Promise<void> {
  await call(config, id, 'ack', leases, new AbortController().signal);
}

const leasesOf = (messages: Pulled[]) => messages.map(({ lease_id }) => ({ lease_id }));

function messageOf(pulled: Pulled, { key = '' }: CloudflareQueue): Message {
  const body = bytesOf(pulled);
  // What is not UTF-8 is rejected as it came.
  const found = isUtf8(body) ? objectIn(body.toString('utf8')) : undefined;
  return { ...addressed(body, found, key), id: pulled.id };
}

/** What was sent as `json` or `bytes` is in Base64, `text` is not. Some answers have JSON as it is. */
function bytesOf({ body, metadata }: Pulled): Buffer {
  if (typeof body !== 'string') return Buffer.from(JSON.stringify(body ?? null));
  const type = metadata?.['CF-Content-Type'];
  const isBase64 = type !== 'text' && /^[A-Za-z0-9+/]+={0,2}$/.test(body) && body.length % 4 === 0;
  return Buffer.from(body, isBase64 ? 'base64' : 'utf8');
}
