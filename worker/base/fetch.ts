import { open, rm } from 'node:fs/promises';
import { codeOf, PermanentError, RetryableError, Snooze } from './errors.ts';

/**
 * Asking other services over HTTP. Every answer is judged here, once for all of them; nothing here tries again,
 * that is the queue's business.
 */

/** Whom we ask, and which settings a person should look at when they refuse. */
export type Service = {
  /** What its error codes start with: `raid` gives `raid_not_found`. */
  code: string;
  name: string;
  settings: { address: string; secret: string };
};

export type DownloadOptions = {
  service: Service & { settings: { limit: string; timeout: string } };
  /** The file to make; it must not exist yet. Only this user can read it. */
  to: string;
  headers?: Record<string, string>;
  maxBytes: number;
  /** For the whole transfer, so that a server that drips bytes ends too. */
  timeoutMs: number;
  signal: AbortSignal;
};

/**
 * Streams a GET into a new private file. Redirects are followed within one origin only, so the headers go nowhere else.
 * When it throws, the file is gone.
 * @throws what `statusError` judges; RetryableError `<service>_unavailable`, `_timeout`, `_truncated`;
 *   PermanentError `<service>_too_large`, `_redirected`; the signal's reason; what the file system says
 */
export async function download(url: URL, options: DownloadOptions): Promise<{ bytes: number }> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), options.timeoutMs);
  const transfer = { ...options, stop: AbortSignal.any([options.signal, deadline.signal]) };
  try {
    options.signal.throwIfAborted();
    const body = await request(url, transfer);
    return { bytes: await save(body, transfer) };
  } catch (error) {
    options.signal.throwIfAborted();
    throw deadline.signal.aborted ? timedOut(options) : error;
  } finally {
    clearTimeout(timer);
  }
}

type Transfer = DownloadOptions & { stop: AbortSignal };
type Body = NonNullable<Response['body']>;

const maxRedirects = 3;
const redirects = new Set([301, 302, 303, 307, 308]);

/** The body of the 200, after redirects; any other answer is thrown, its body dropped so that the socket is free. */
async function request(url: URL, transfer: Transfer): Promise<Body | null> {
  // Nothing may unpack itself on the way: the limit is on what is stored.
  const headers = { ...transfer.headers, 'accept-encoding': 'identity' };
  let at = url;
  for (let hops = 0; ; hops++) {
    const response = await fetch(at, { headers, redirect: 'manual', signal: transfer.stop }).catch((error: unknown) => {
      throw unavailable(transfer.service, `could not be reached (${causeOf(error)})`, error);
    });
    const fault = faultOf(response, at, hops, transfer);
    if (!fault && response.ok) return response.body;
    await response.body?.cancel();
    if (fault) throw fault;
    at = new URL(response.headers.get('location')!, at);
  }
}

/** Why this answer ends the transfer; undefined for a file to read and for a redirect to follow. */
function faultOf(response: Response, at: URL, hops: number, { service, maxBytes }: Transfer): Error | undefined {
  if (redirects.has(response.status)) return redirectFault(response.headers.get('location'), at, hops, service);
  if (!response.ok) return statusError(service, response);
  const announced = Number(response.headers.get('content-length') ?? 0);
  return announced > maxBytes ? tooLarge(service, maxBytes) : undefined;
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

async function save(body: Body | null, { to, service, maxBytes }: Transfer): Promise<number> {
  const file = await open(to, 'wx', 0o600).catch(async (error: unknown) => {
    await body?.cancel();
    throw error;
  });
  try {
    let bytes = 0;
    for await (const chunk of body ?? []) {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) throw tooLarge(service, maxBytes);
      await file.appendFile(chunk);
    }
    await file.close();
    return bytes;
  } catch (error) {
    await file.close();
    await rm(to, { force: true });
    // What fetch throws about the network is a TypeError with the cause underneath; the rest is ours or the disk's.
    throw error instanceof TypeError ? truncated(service, error) : error;
  }
}

function tooLarge({ code, name, settings }: DownloadOptions['service'], maxBytes: number): PermanentError {
  const most = `${(maxBytes / 1e6).toLocaleString('en')} MB (${settings.limit})`;
  return new PermanentError(`${code}_too_large`, `${name} has a file that is larger than ${most}`);
}

function truncated({ code, name }: Service, cause: Error): RetryableError {
  const message = `${name} broke off in the middle of the file (${causeOf(cause)})`;
  return new RetryableError(`${code}_truncated`, message, { cause });
}

function timedOut({ service: { code, name, settings }, timeoutMs }: DownloadOptions): RetryableError {
  const most = `${(timeoutMs / 1000).toLocaleString('en')} s (${settings.timeout})`;
  return new RetryableError(`${code}_timeout`, `${name} did not deliver the file within ${most}`);
}

/**
 * What an answer that is not a success means for the job. A 429 that says when to come back costs no retry; a 503 that
 * does costs one, so that the jobs of a service that never comes back end.
 * https://www.rfc-editor.org/rfc/rfc9110#name-status-codes
 */
export function statusError(service: Service, response: Pick<Response, 'status' | 'headers'>): Error {
  const { code, name, settings } = service;
  const { status } = response;
  const said = `${name} answered ${status}`;
  switch (status) {
    case 401:
    case 403:
      return new PermanentError(`${code}_unauthorized`, `${said}: check ${settings.secret}`);
    case 404:
    case 410:
      return new PermanentError(`${code}_not_found`, `${said}: what was asked for is not there`);
    case 408:
    case 425:
      return unavailable(service, `answered ${status}`);
    case 429: {
      const delayMs = retryAfter(response.headers);
      if (delayMs !== undefined) return new Snooze(delayMs, `${said}: come back in ${Math.ceil(delayMs / 1000)} s`);
      return new RetryableError(`${code}_rate_limited`, `${said}: too many requests`);
    }
  }
  if (status >= 500) return unavailable(service, `answered ${status}`);
  return new PermanentError(`${code}_refused`, `${said}: it does not take this request; check ${settings.address}`);
}

const second = 1000;
const longestSnooze = 3600 * second;

/** Milliseconds, from whole seconds or an HTTP date; at least a second, so that nobody spins. Undefined if not given. */
function retryAfter(headers: Headers): number | undefined {
  const value = headers.get('retry-after')?.trim();
  if (!value) return undefined;
  const delayMs = /^\d+$/.test(value) ? Number(value) * second : Date.parse(value) - Date.now();
  return Number.isNaN(delayMs) ? undefined : Math.min(Math.max(delayMs, second), longestSnooze);
}

function unavailable({ code, name, settings }: Service, what: string, cause?: unknown): RetryableError {
  return new RetryableError(`${code}_unavailable`, `${name} ${what}: check ${settings.address} and that it is up`, {
    cause,
  });
}

/** A word for what the network did: `ECONNREFUSED`. Never the text, which may quote a header. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return codeOf(cause) ?? (error instanceof Error ? error.name : 'unknown');
}
