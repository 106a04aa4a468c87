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
  { url, account, token }: CloudflareConfig,
  queue: string,
  verb: 'pull' | 'ack',
  body: object,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  const address = new URL(`${url}/accounts/${account}/queues/${queue}/messages/${verb}`);
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const options = {
    service,
    method: 'POST',
    headers,
    body: JSON.stringify(body),
    timeoutMs,
    maxBytes,
    signal,
  } as const;
  const { status, headers: answered, text } = await request(address, options);
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
