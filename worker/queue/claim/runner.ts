import { setTimeout as sleep } from 'node:timers/promises';
import type { Ticket } from '../run/backlog.ts';
import { Claims } from './claims.ts';
import { Graphile, type GraphileOptions } from './graphile.ts';
import type { Waking } from './waking.ts';

export type RunnerOptions = GraphileOptions & {
  /** How many more tickets may be claimed now. */
  room: () => number;
  /** Told when it begins to claim and when it ends, of each ticket, and when there are no more. */
  waking: Pick<Waking, 'start' | 'stop' | 'found' | 'exhausted'>;
};

/** The pause before graphile-worker is started again: doubled each time, unless it has worked for a while. */
const pauseMs = { first: 100, last: 1_000 };
const aWhileMs = 10_000;

/**
 * Claims the tickets of one queue with graphile-worker, as many at a time as there is room for. graphile-worker shuts
 * its pool down on one failed batch, and its promise may never settle when Postgres restarts. So its events are
 * watched, and it is replaced when it stops by itself.
 */
export class Runner {
  readonly #options: RunnerOptions;
  #supervisor: Promise<void> = Promise.resolve();
  #stopped: AbortController | undefined;
  /** What claims now. Without it nothing needs to be remembered: the next one searches when it has started. */
  #current: Graphile | undefined;

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  /** Starts claiming. If graphile-worker fails, it is started again. */
  start(): void {
    if (this.#stopped) return;
    const { signal } = (this.#stopped = new AbortController());
    this.#supervisor = this.#supervisor.then(() => this.#supervise(signal));
  }

  async #supervise(signal: AbortSignal): Promise<void> {
    for (let pause = pauseMs.first; !signal.aborted; pause = Math.min(pause * 2, pauseMs.last)) {
      if ((await this.#claimUntilEnded(signal)) > aWhileMs) pause = pauseMs.first;
      if (!signal.aborted) await sleep(pause, undefined, { signal }).catch(() => {});
    }
  }

  /** @returns for how many milliseconds it claimed */
  async #claimUntilEnded(signal: AbortSignal): Promise<number> {
    const { queue, log, room, waking } = this.#options;
    const claims = new Claims(room, waking);
    const graphile = new Graphile({ ...this.#options, take: (ticket) => this.#take(ticket) }, claims);
    let since = Infinity;
    try {
      await graphile.start();
      this.#current = graphile;
      since = claims.answeredAt = Date.now();
      // Notifications sent before this moment did not reach us.
      claims.search();
      waking.start();
      await Promise.race([graphile.ended(), aborted(signal)]);
    } catch (error) {
      log.warn({ err: error, queue }, 'could not start claiming');
    }
    const claimedMs = Date.now() - since;
    waking.stop();
    claims.close();
    this.#current = undefined;
    await graphile.stop();
    return claimedMs;
  }

  async #take(ticket: Ticket): Promise<void> {
    const taken = this.#options.take(ticket);
    this.goOn();
    await taken;
    this.goOn();
  }

  /** Claims nothing more. Resolves when its tickets are done, or after two seconds. */
  async stop(): Promise<void> {
    this.#stopped?.abort();
    this.#stopped = undefined;
    await this.#supervisor;
  }

  /** Claims this number of due tickets, or searches for them when their number is unknown. */
  wake(tickets?: number): void {
    if (tickets) this.#current?.claims.wake(tickets);
    else this.#current?.claims.search();
  }

  /** Searches, unless it does or will as soon as there is room. */
  poll(): void {
    this.#current?.claims.poll();
  }

  /** To be called when Postgres has said that no ticket is due. */
  foundNothing(): void {
    if (this.#current) this.#current.claims.answeredAt = Date.now();
  }

  /** Continues a search that has not ended, because there is room for more tickets. */
  goOn(): void {
    this.#current?.claims.goOn();
  }

  /** Starts graphile-worker again. */
  restart(): void {
    this.#current?.end();
  }

  /** Whether it should claim. */
  get wanted(): boolean {
    return this.#stopped !== undefined;
  }

  /** When Postgres last answered a claim, or that no ticket is due; undefined: it does not claim now. */
  get claimedAt(): number | undefined {
    return this.#current?.claims.answeredAt;
  }
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
