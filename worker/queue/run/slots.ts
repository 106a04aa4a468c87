import { Snooze } from '../../base/errors.ts';

/** Jobs that may run beside the slots: each may have a large original on the disk. */
export const mostAside = 4;
/** A job that found no room beside the slots comes back after this: it downloads its original again. */
const asideMs = 300_000;

/**
 * How many jobs, or batches, of a queue run at once in this process. Each runs on a lease, which is given back at its
 * end.
 */
export class Slots {
  #free: number;
  #aside = 0;
  readonly #onFree: () => void;

  /** @param onFree called when a job steps aside: its slot is free before it ends */
  constructor(size: number, onFree: () => void) {
    this.#free = size;
    this.#onFree = onFree;
  }

  /** Below 0 when a batch has turned out to be jobs of several kinds: each of them runs nonetheless. */
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
  /** Goes on without the slot. Does nothing after the release. @throws Snooze when many jobs have done so */
  stepAside(): void;
  /** Only the first call counts. */
  release(): void;
};
