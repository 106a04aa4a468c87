import type { CloudflareConfig } from '../../base/config/cloudflare.ts';
import { request } from '../../base/http/request.ts';

/** https://developers.cloudflare.com/api/resources/queues/subresources/messages/ */
export type Pulled = {
  id: string;
  lease_id: string;
  body: unknown;
  attempts?: number;
  metadata?: Record<string, unknown>;
};

export class CloudflareError extends Error {
  override name = 'CloudflareError';
  readonly code: string;
  /** Too many requests: come back after this time. */
  readonly waitMs: number | undefined;

  constructor(code: string, message: string, waitMs?: number) {
    super(message);
    this.code = code;
    this.waitMs = waitMs;
  }
}

const service = {
  code: 'cloudflare',
  name: 'Cloudflare',
  settings: { address: 'CLOUDFLARE_API_URL', secret: 'CLOUDFLARE_QUEUES_TOKEN' },
};
const timeoutMs = 30_000;
/** A hundred messages of 128 kB, in Base64. */
const maxBytes = 32e6;
/** Cloudflare's code for a queue that gets too many requests. */
const overloaded = 10_250;

/** @throws CloudflareError, and what `request` throws */
export async function call(
  config: CloudflareConfig,
  queue: string,
  verb: 'pull' | 'ack',
  body: object,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  return ask(config, `${queue}/messages/${verb}`, { method: 'POST', body: JSON.stringify(body), signal });
}

/** Whether a queue may be pulled. It takes no message. @throws as `call` does */
export async function mayBePulled(config: CloudflareConfig, queue: string, signal: AbortSignal): Promise<boolean> {
  const { consumers } = await ask(config, queue, { method: 'GET', signal });
  return Array.isArray(consumers) && consumers.some(({ type }: { type?: unknown }) => type === 'http_pull');
}

type Asking = { method: 'GET' | 'POST'; body?: string; signal: AbortSignal };

async function ask(
  { url, account, token }: CloudflareConfig,
  path: string,
  asking: Asking,
): Promise<Record<string, unknown>> {
  const address = new URL(`${url}/accounts/${account}/queues/${path}`);
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const {
    status,
    headers: answered,
    text,
  } = await request(address, {
    ...asking,
    service,
    headers,
    timeoutMs,
    maxBytes,
  });
  const answer = parsed(text);
  if (status === 200 && answer?.success === true) return answer.result ?? {};
  const { code, message } = answer?.errors?.[0] ?? {};
  const wait = Number(answered['retry-after']);
  throw new CloudflareError(
    `cloudflare_${code ?? status}`,
    `Cloudflare answers ${status}${message ? `: ${message.slice(0, 500)}` : ''}`,
    status === 429 || code === overloaded ? (wait > 0 ? wait * 1_000 : 0) : undefined,
  );
}

type Answer = {
  success?: boolean;
  errors?: { code?: number; message?: string }[];
  result?: Record<string, unknown>;
};

function parsed(text: string): Answer | undefined {
  try {
    const answer: unknown = JSON.parse(text);
    return typeof answer === 'object' && answer !== null ? answer : undefined;
  } catch {
    return undefined;
  }
}
