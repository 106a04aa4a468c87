import { Snooze } from '../../base/errors.ts';

/** The most jobs that run without a slot: each may have a large original on the disk. */
export const mostAside = 4;
/** A job that could not give up its slot comes back after this time: it downloads its original again. */
const asideMs = 300_000;

/** How many jobs, or batches, of a queue run at once in this process. Each has a lease on a slot. */
export class Slots {
  /** Below 0 if a batch has turned out to be jobs of several kinds: each of them runs nonetheless. */
  free: number;
  /** Jobs that run without a slot. */
  aside = 0;
  /** Called when a job gives up its slot, which is then free before the job ends. */
  readonly onAside: () => void;

  constructor(size: number, onAside: () => void) {
    this.free = size;
    this.onAside = onAside;
  }

  take(): Lease {
    return new Lease(this);
  }
}

/** One slot, taken. Its holder releases it in `finally`. */
export class Lease {
  readonly #slots: Slots;
  #has: 'slot' | 'aside' | 'nothing' = 'slot';

  constructor(slots: Slots) {
    this.#slots = slots;
    slots.free--;
  }

  /** Goes on without the slot. Does nothing after the release. @throws Snooze when many jobs have done so */
  stepAside(): void {
    if (this.#has !== 'slot') return;
    if (this.#slots.aside >= mostAside)
      throw new Snooze(asideMs, `${mostAside} long jobs wait in this process already: no more may`, { bounded: false });
    this.#has = 'aside';
    this.#slots.aside++;
    this.#slots.free++;
    this.#slots.onAside();
  }

  /** Only the first call counts. */
  release(): void {
    if (this.#has === 'slot') this.#slots.free++;
    else if (this.#has === 'aside') this.#slots.aside--;
    this.#has = 'nothing';
  }
}
