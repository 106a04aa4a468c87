import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { codeOf, DeploymentError, isOf, PermanentError, RetryableError, Snooze } from '../errors.ts';
import { writeNew } from '../new-file.ts';
import { isUnreachable, retryAfterMs, usualPatience, withRetries, type Passing } from '../retry.ts';
import { tempError } from '../temp.ts';
import { ask } from './ask.ts';
import type { Guard } from './guard.ts';

/**
 * Downloads from other services over HTTP, with node:http, because the global `fetch()` copies each byte one more
 * time. Every answer is judged here, in the same way for all services. A download that breaks off starts again a few
 * times (base/retry.ts), within its time limit.
 */

/** The service, and the settings that a person should check when it refuses. */
export type Service = {
  /** The beginning of its error codes: `raid` gives `raid_not_found`. */
  code: string;
  name: string;
  /** Its name in App.dependencies, if its refusals may be a fault of the deployment. */
  dependency?: string;
  settings: { address: string; secret: string };
  /** Statuses with a special meaning for this service. */
  statuses?: Record<number, (said: string) => Error>;
};

export type DownloadOptions = {
  service: Service & { settings: { limit: string; timeout: string } };
  /** The file to create; it must not exist yet. Only this user can read it. */
  to: string;
  headers?: Record<string, string>;
  /** Where the connection may go to, if somebody else chose the address. */
  guard?: Guard;
  maxBytes: number;
  /** For the whole transfer, so that a server that sends byte by byte is ended, too. */
  timeoutMs: number;
  signal: AbortSignal;
};

/** `sha256` is of the bytes, in hex. */
export type Downloaded = { bytes: number; sha256: string };

/**
 * Streams a GET into a new private file. Redirects are followed within one origin only, so the headers go nowhere else.
 * When it throws, the file is removed.
 * @throws what `statusError` returns; DeploymentError `disk_full`, and `<service>_unavailable` if nobody answers;
 *   RetryableError `<service>_unavailable`, `_timeout`, `_truncated`; PermanentError `<service>_too_large`,
 *   `_redirected`; the signal's reason; an error of the file system
 */
export async function download(url: URL, options: DownloadOptions): Promise<Downloaded> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), options.timeoutMs);
  const transfer = { ...options, stop: AbortSignal.any([options.signal, deadline.signal]) };
  try {
    options.signal.throwIfAborted();
    const work = async () => save(await request(url, transfer), transfer);
    const patience = { ...usualPatience, budgetMs: Math.min(longestPatienceMs, options.timeoutMs * 0.9) };
    return await withRetries(work, (error) => passingOf(options.service, error), transfer.stop, patience);
  } catch (error) {
    options.signal.throwIfAborted();
    throw deadline.signal.aborted ? timedOut(options) : error;
  } finally {
    clearTimeout(timer);
  }
}

/** A longer wait is not spent here: the job is snoozed, and its slot is free meanwhile. */
const longestPatienceMs = 20_000;

/** Whether another request may succeed. */
function passingOf({ code }: Service, error: unknown): Passing | undefined {
  if (error instanceof Snooze) return { retryAfterMs: error.delayMs };
  const words = ['unavailable', 'truncated', 'rate_limited'].map((word) => `${code}_${word}`);
  return words.includes(codeOf(error) ?? '') ? { retryAfterMs: waits.get(error as Error) } : undefined;
}

/** How long the server said to wait, by the error that was made of its answer. */
const waits = new WeakMap<Error, number>();

type Transfer = DownloadOptions & { stop: AbortSignal };

const maxRedirects = 3;
const redirects = new Set([301, 302, 303, 307, 308]);

/** The response with status 200, after redirects. Any other answer is thrown, and its socket closed. */
async function request(url: URL, transfer: Transfer): Promise<IncomingMessage> {
  // Nothing is unpacked on the way: the size limit is for what is stored.
  const headers = { ...transfer.headers, 'accept-encoding': 'identity' };
  let at = url;
  for (let hops = 0; ; hops++) {
    const { stop, guard } = transfer;
    const response = await ask(at, { headers, signal: stop, guard }).catch((error: unknown) => {
      if (isOf(error, PermanentError)) throw error;
      throw unavailable(transfer.service, `could not be reached (${causeOf(error)})`, error);
    });
    const fault = faultOf(response, at, hops, transfer);
    if (!fault && response.statusCode === 200) return response;
    response.destroy();
    if (fault) throw fault;
    at = new URL(response.headers.location!, at);
  }
}

/** Why this answer ends the transfer; undefined for a file to read and for a redirect to follow. */
function faultOf(response: IncomingMessage, at: URL, hops: number, { service, maxBytes }: Transfer): Error | undefined {
  const { statusCode: status = 0, headers } = response;
  if (redirects.has(status)) return redirectFault(headers.location ?? null, at, hops, service);
  if (status !== 200) return statusError(service, status, headers['retry-after']);
  const encoding = headers['content-encoding']?.trim().toLowerCase() || 'identity';
  if (encoding !== 'identity')
    return new PermanentError(
      `${service.code}_refused`,
      `${service.name} sent the file with content-encoding ${encoding}, although Rowmill asked for none`,
    );
  return Number(headers['content-length'] ?? 0) > maxBytes ? tooLarge(service, maxBytes) : undefined;
}

function redirectFault(location: string | null, at: URL, hops: number, service: Service): Error | undefined {
  const code = `${service.code}_redirected`;
  const check = `check ${service.settings.address}`;
  const target = location === null ? null : URL.parse(location, at.href);
  if (!target) return new PermanentError(code, `${service.name} redirected to nowhere: ${check}`);
  if (target.origin !== at.origin)
    return new PermanentError(code, `${service.name} redirected to another server, ${target.origin}: ${check}`);
  if (hops >= maxRedirects)
    return new PermanentError(code, `${service.name} redirected more than ${maxRedirects} times: ${check}`);
  return undefined;
}

async function save(response: IncomingMessage, { to, service, maxBytes, stop }: Transfer): Promise<Downloaded> {
  const hash = createHash('sha256');
  let bytes = 0;
  async function* measured(chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw tooLarge(service, maxBytes);
      hash.update(chunk);
      yield chunk;
    }
  }
  try {
    await writeNew(to, (file) => pipeline(response, measured, file, { signal: stop }));
    return { bytes, sha256: hash.digest('hex') };
  } catch (error) {
    // Of the three parts that can fail, only the network's failure is set on the response.
    throw response.errored === error ? truncated(service, error) : tempError(error);
  }
}

function tooLarge({ code, name, settings }: DownloadOptions['service'], maxBytes: number): PermanentError {
  const most = `${(maxBytes / 1e6).toLocaleString('en')} MB (${settings.limit})`;
  return new PermanentError(`${code}_too_large`, `${name} has a file that is larger than ${most}`);
}

function truncated({ code, name }: Service, cause: unknown): RetryableError {
  const message = `${name} broke off in the middle of the file (${causeOf(cause)})`;
  return new RetryableError(`${code}_truncated`, message, { cause });
}

function timedOut({ service: { code, name, settings }, timeoutMs }: DownloadOptions): RetryableError {
  const most = `${(timeoutMs / 1000).toLocaleString('en')} s (${settings.timeout})`;
  return new RetryableError(`${code}_timeout`, `${name} did not deliver the file within ${most}`);
}

/**
 * The error for an answer that is not a success. A 429 that says when to come back uses no retry. A 503 that says so
 * uses one, so that the jobs of a service that never comes back end.
 * https://www.rfc-editor.org/rfc/rfc9110#name-status-codes
 */
export function statusError(service: Service, status: number, retryAfter?: string): Error {
  const { code, name, settings, statuses } = service;
  const said = `${name} answered ${status}`;
  const own = statuses?.[status];
  if (own) return own(said);
  switch (status) {
    case 401:
    case 403:
      return deploymentError(service, `${code}_unauthorized`, `${said}: check ${settings.secret}`);
    case 404:
    case 410:
      return new PermanentError(`${code}_not_found`, `${said}: what was asked for is not there`);
    case 408:
    case 425:
      return unavailable(service, `answered ${status}`);
    case 429: {
      const delayMs = retryAfterMs(retryAfter);
      if (delayMs !== undefined) return new Snooze(delayMs, `${said}: come back in ${Math.ceil(delayMs / 1000)} s`);
      return new RetryableError(`${code}_rate_limited`, `${said}: too many requests`);
    }
  }
  if (status >= 500) {
    const error = unavailable(service, `answered ${status}`);
    const delayMs = retryAfterMs(retryAfter);
    if (delayMs !== undefined) waits.set(error, delayMs);
    return error;
  }
  return new PermanentError(`${code}_refused`, `${said}: it does not take this request; check ${settings.address}`);
}

/** Nothing was done: nobody could be reached, or it answered that it is out of order. */
export function unavailable(service: Service, what: string, cause?: unknown): Error {
  const { code, name, settings } = service;
  const words = `${name} ${what}: check ${settings.address} and that it is up`;
  if (service.dependency && isUnreachable(codeOf(cause) ?? ''))
    return new DeploymentError(service.dependency, `${code}_unavailable`, words, { cause });
  return new RetryableError(`${code}_unavailable`, words, { cause });
}

const deploymentError = ({ dependency }: Service, code: string, words: string): Error =>
  dependency ? new DeploymentError(dependency, code, words) : new PermanentError(code, words);

/** A word for what the network did: `ECONNREFUSED`. Never the message, which may quote a header. */
export function causeOf(error: unknown): string {
  return codeOf(error) ?? (error instanceof Error ? error.name : 'unknown');
}
