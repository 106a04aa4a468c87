import { Snooze } from '../../base/errors.ts';

/** The most jobs that run without a slot: each may have a large original on the disk. */
export const mostAside = 4;
/** A job that could not give up its slot comes back after this time: it downloads its original again. */
const asideMs = 300_000;

/**
 * How many jobs, or batches, of a queue run at once in this process. Each has a lease on a slot, and gives it back at
 * its end.
 */
export class Slots {
  #free: number;
  #aside = 0;
  readonly #onFree: () => void;

  /** @param onFree called when a job gives up its slot, which is then free before the job ends */
  constructor(size: number, onFree: () => void) {
    this.#free = size;
    this.#onFree = onFree;
  }

  /** Below 0 if a batch has turned out to be jobs of several kinds: each of them runs nonetheless. */
  get free(): number {
    return this.#free;
  }

  /** Jobs that run without a slot. */
  get aside(): number {
    return this.#aside;
  }

  take(): Lease {
    this.#free--;
    let has: 'slot' | 'aside' | 'nothing' = 'slot';
    return {
      stepAside: () => {
        if (has !== 'slot') return;
        if (this.#aside >= mostAside)
          throw new Snooze(asideMs, 'as many long jobs as may wait here do', { bounded: false });
        has = 'aside';
        this.#aside++;
        this.#free++;
        this.#onFree();
      },
      release: () => {
        if (has === 'slot') this.#free++;
        else if (has === 'aside') this.#aside--;
        has = 'nothing';
      },
    };
  }
}

export type Lease = {
  /** Goes on without the slot. Does nothing after the release. @throws Snooze if many jobs have done so */
  stepAside(): void;
  /** Only the first call counts. */
  release(): void;
};
