import { setTimeout as sleep } from 'node:timers/promises';
import type { Markup } from './elements.ts';
import type { Log } from '../../base/log.ts';

/**
 * Parts of pages that stay up to date. All who look at the same part share its rendering: 200 open dashboards cost
 * Postgres no more than one.
 */
export type Live = {
  /**
   * The stream of a part: its HTML now and after each change, as server-sent events.
   * @param key what is rendered, such as `job 17`. Equal keys must be rendered equally, whoever the user is
   * @returns 503 if too many are open
   */
  stream(key: string, render: () => Promise<Markup>, signal: AbortSignal): Response;
  /** How many streams are open. */
  open(): number;
  close(): void;
};

/**
 * How often a part is rendered: short beside what a person notices, and long beside a statement. All parts are rendered
 * at the same moments, so that they share what they read.
 */
const everyMs = 2_000;
/** Proxies cut streams that are silent for a minute. */
const heartbeatMs = 15_000;
const mostStreams = 500;
/** Different parts. Each costs a few statements every two seconds. */
const mostParts = 50;

export function createLive(log: Pick<Log, 'warn'>): Live {
  const parts = new Map<string, Part>();
  let streams = 0;
  const forget = (key: string, part: Part) => {
    if (parts.get(key) === part) parts.delete(key);
  };
  return {
    stream(key, render, signal) {
      const known = parts.get(key);
      if (streams >= mostStreams || (!known && parts.size >= mostParts))
        return new Response('Too many pages are open', { status: 503, headers: { 'retry-after': '60' } });
      const part = known ?? new Part(render, log, () => forget(key, part));
      parts.set(key, part);
      streams++;
      return new Response(
        part.follow(signal, () => streams--),
        { headers: { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' } },
      );
    },
    open: () => streams,
    close() {
      for (const part of parts.values()) part.close();
    },
  };
}

/** Renders while anybody follows. */
class Part {
  readonly #render: () => Promise<Markup>;
  readonly #log: Pick<Log, 'warn'>;
  readonly #onIdle: () => void;
  readonly #followers = new Set<Follower>();
  readonly #idle = new AbortController();
  #latest: { html: string; event: Uint8Array } | undefined;

  constructor(render: () => Promise<Markup>, log: Pick<Log, 'warn'>, onIdle: () => void) {
    this.#render = render;
    this.#log = log;
    this.#onIdle = onIdle;
    void this.#run();
  }

  follow(signal: AbortSignal, onEnd: () => void): ReadableStream<Uint8Array> {
    const follower = new Follower(() => {
      if (!this.#followers.delete(follower)) return;
      onEnd();
      if (this.#followers.size === 0) this.close();
    });
    this.#followers.add(follower);
    if (this.#latest) follower.send(this.#latest.event);
    signal.addEventListener('abort', () => follower.end(), { once: true });
    if (signal.aborted) follower.end();
    return follower.stream;
  }

  close(): void {
    this.#idle.abort();
    this.#onIdle();
    for (const follower of this.#followers) follower.end();
  }

  async #run(): Promise<void> {
    const { signal } = this.#idle;
    for (let quiet = 0; !signal.aborted; quiet += everyMs) {
      const html = await this.#rendered();
      if (html !== undefined && isOther(html, this.#latest?.html)) {
        // Encoded once, for all who look.
        this.#latest = { html, event: eventOf(html) };
        for (const follower of this.#followers) follower.send(this.#latest.event);
        quiet = 0;
      } else if (quiet >= heartbeatMs - everyMs) {
        for (const follower of this.#followers) follower.beat();
        quiet = 0;
      }
      await sleep(everyMs - (performance.now() % everyMs), undefined, { signal }).catch(() => {});
    }
  }

  /** While Postgres is away, what was seen last stays. */
  async #rendered(): Promise<string | undefined> {
    try {
      return String(await this.#render());
    } catch (error) {
      this.#log.warn({ err: error }, 'a part of the dashboard could not be rendered, will try again');
      return undefined;
    }
  }
}

/** The words of a time, such as `5 s ago`, are no change: the page counts on by itself. */
const isOther = (html: string, before: string | undefined) => before === undefined || settled(html) !== settled(before);
const settled = (html: string) => html.replace(/(<time [^>]*>)[^<]*/g, '$1');

/** One open page. If its network is slow, it skips to the latest. */
class Follower {
  readonly stream: ReadableStream<Uint8Array>;
  readonly end: () => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #next: Uint8Array | undefined;

  constructor(onEnd: () => void) {
    this.end = () => {
      try {
        this.#controller?.close();
      } catch {
        // It is closed already.
      }
      this.#controller = undefined;
      onEnd();
    };
    this.stream = new ReadableStream({
      start: (controller) => {
        this.#controller = controller;
        controller.enqueue(encoder.encode('retry: 2000\n\n'));
      },
      pull: () => this.#push(),
      cancel: () => this.end(),
    });
  }

  send(event: Uint8Array): void {
    this.#next = event;
    this.#push();
  }

  beat(): void {
    if (this.#hasRoom()) this.#controller?.enqueue(encoder.encode(':\n\n'));
  }

  #push(): void {
    if (this.#next === undefined || !this.#hasRoom()) return;
    this.#controller?.enqueue(this.#next);
    this.#next = undefined;
  }

  #hasRoom(): boolean {
    return (this.#controller?.desiredSize ?? 0) > -1;
  }
}

const encoder = new TextEncoder();

const eventOf = (html: string): Uint8Array => {
  const lines = html.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`);
  return encoder.encode(`${lines.join('')}\n`);
};
