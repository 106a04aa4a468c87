const neglectMs = 15_000;

export type NeglectOptions = {
  queue: string;
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

  /** To be called each time that Postgres was asked for how long the queue's next ticket has been due; 0: none is. */
  asked(waitingMs: number): void {
    this.#found = waitingMs > neglectMs && this.#isPossible();
  }

  #isPossible(): boolean {
    return this.#options.isIdle() && Date.now() - this.#tookAt > neglectMs;
  }

  /** What the last answer means, or undefined. */
  trouble(): string | undefined {
    if (!this.#found) return undefined;
    const { queue } = this.#options;
    return `jobs of queue ${queue} have been due for more than ${neglectMs / 1_000} s, and nobody claims them`;
  }
}
