import type { RequestClient, Twilio } from 'twilio';
import type { Config } from '../../base/config/config.ts';
import { UnknownOutcome } from '../../base/errors.ts';
import type { Service } from '../../base/http/fetch.ts';
import { request } from '../../base/http/request.ts';
import { judgeTwilio, unreadable } from './errors.ts';

export type TwilioConfig = NonNullable<Config['twilio']>;

/**
 * The SDK for the requests of one attempt. It makes the requests and reads the answers. They travel over `request`,
 * because the SDK's own transport has no signal, cannot say whether a request went out, and loses Retry-After.
 */
export async function openTwilio(config: TwilioConfig, service: Service, signal: AbortSignal): Promise<Twilio> {
  const { default: twilio } = await import('twilio');
  const transport = { request: (options: Asked) => exchange(options, { config, service, signal }) };
  return twilio(config.accountSid, config.authToken, { httpClient: transport as unknown as RequestClient });
}

type Asked = Parameters<RequestClient['request']>[0];
type Around = { config: TwilioConfig; service: Service; signal: AbortSignal };

/** @throws what `request` throws and what the answer means; nothing that reads is an UnknownOutcome */
async function exchange(asked: Asked, { config, service, signal }: Around) {
  const reads = asked.method === 'get';
  const url = new URL(config.url + new URL(asked.uri).pathname);
  for (const [name, value] of Object.entries((asked.params ?? {}) as Fields)) url.searchParams.set(name, String(value));
  const login = Buffer.from(`${asked.username}:${asked.password}`).toString('base64');
  const answer = await request(url, {
    service,
    method: reads ? 'GET' : 'POST',
    headers: { ...(asked.headers as Record<string, string>), authorization: `Basic ${login}` },
    body: reads ? undefined : formOf((asked.data ?? {}) as Fields),
    maxBytes: reads ? 2_000_000 : 64_000,
    timeoutMs: config.timeoutMs,
    signal,
  }).catch((error: unknown) => {
    if (!reads || !(error instanceof UnknownOutcome)) throw error;
    signal.throwIfAborted();
    throw unreadable(service, 'did not answer', error);
  });
  if (answer.status < 200 || answer.status > 299) throw judgeTwilio(answer, service, reads);
  const body = parsed(answer.text);
  if (body) return { statusCode: answer.status, body, headers: answer.headers };
  throw reads
    ? unreadable(service, 'answered with what is no JSON')
    : new UnknownOutcome(`Twilio answered ${answer.status} with what is no JSON`);
}

type Fields = Record<string, string | number | boolean | undefined>;

function formOf(fields: Fields): string {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) form.set(name, String(value));
  return form.toString();
}

function parsed(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
