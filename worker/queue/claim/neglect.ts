import type { ticketIsDue } from './due-ticket.ts';

const neglectMs = 15_000;

export type NeglectOptions = {
  queue: string;
  isDue: ReturnType<typeof ticketIsDue>;
  /** Whether this worker could run more jobs, and has none in hand that wait. */
  isIdle: () => boolean;
};

/** Finds out whether jobs of a queue are due that no worker claims, though this one could. */
export class Neglect {
  readonly #options: NeglectOptions;
  #tookAt = Date.now();
  #found = false;

  constructor(options: NeglectOptions) {
    this.#options = options;
  }

  /** To be called when a ticket was claimed. */
  took(): void {
    this.#tookAt = Date.now();
  }

  /** Must be called every few seconds. */
  async check(): Promise<void> {
    const { isDue } = this.#options;
    this.#found = this.#isPossible() && (await isDue({ forMs: neglectMs })) && this.#isPossible();
  }

  #isPossible(): boolean {
    return this.#options.isIdle() && Date.now() - this.#tookAt > neglectMs;
  }

  /** What the last check has found, or undefined. */
  trouble(): string | undefined {
    if (!this.#found) return undefined;
    const { queue } = this.#options;
    return `jobs of queue ${queue} have been due for more than ${neglectMs / 1_000} s, and nobody claims them`;
  }
}
