import type { IncomingMessage } from 'node:http';
import { isOf, PermanentError, RetryableError, UnknownOutcome } from '../errors.ts';
import { ask, type Asking } from './ask.ts';
import { causeOf, unavailable, type Service } from './fetch.ts';

/**
 * One request that may do something, such as send a message. It is never repeated here. Its error says whether the
 * request can have had an effect: UnknownOutcome if it went out, any other if it certainly did not.
 */

export type RequestOptions = Pick<Asking, 'method' | 'body' | 'guard' | 'signal'> & {
  service: Service;
  headers?: Record<string, string>;
  /** Of the answer. What is beyond is not read: see `Answer.truncated`. Default 64 kB. */
  maxBytes?: number;
  /** For the whole exchange. */
  timeoutMs: number;
};

export type Answer = {
  status: number;
  headers: IncomingMessage['headers'];
  text: string;
  /** The answer was larger than `maxBytes`, or broke off: `text` is its beginning. The status holds all the same. */
  truncated: boolean;
};

/**
 * @returns the answer, whatever its status; redirects are not followed
 * @throws UnknownOutcome; before anything was sent: RetryableError `<service>_unavailable` and `<service>_timeout`,
 *   DeploymentError `<service>_unavailable` if nobody listens there, PermanentError `address_refused` by the guard, the
 *   signal's reason
 */
export async function request(url: URL, options: RequestOptions): Promise<Answer> {
  const { service, headers = {}, maxBytes = 64_000, timeoutMs, signal, method = 'GET', body, guard } = options;
  signal.throwIfAborted();
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), timeoutMs);
  let sent = false;
  try {
    const stop = AbortSignal.any([signal, deadline.signal]);
    const onSent = () => void (sent = true);
    const response = await ask(url, { method, headers, body, guard, signal: stop, onSent });
    return await read(response, maxBytes);
  } catch (error) {
    const late = deadline.signal.aborted ? `no answer within ${timeoutMs / 1_000} s` : undefined;
    if (sent) throw new UnknownOutcome(`${service.name}: ${late ?? causeOf(error)}`, { cause: error });
    signal.throwIfAborted();
    if (isOf(error, PermanentError)) throw error;
    if (late) throw new RetryableError(`${service.code}_timeout`, `${service.name}: ${late}`, { cause: error });
    throw unavailable(service, `could not be reached (${causeOf(error)})`, error);
  } finally {
    clearTimeout(timer);
  }
}

/** Never throws: the status has been read, and it is the answer. */
async function read(response: IncomingMessage, maxBytes: number): Promise<Answer> {
  const { statusCode: status = 0, headers } = response;
  const chunks: Buffer[] = [];
  let bytes = 0;
  let broken = false;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > maxBytes) break;
    }
  } catch {
    broken = true;
  }
  const text = Buffer.concat(chunks).subarray(0, maxBytes).toString('utf8');
  return { status, headers, text, truncated: broken || bytes > maxBytes };
}
