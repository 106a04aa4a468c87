/**
 * Lets the media jobs of the whole process run side by side, as far as memory and cores allow.
 *
 * Short work, such as a picture or a short clip, takes seconds. A long encode takes minutes or hours. So a part of the
 * memory is never given to long encodes, and short work goes on beside them. An encode that needs more than the rest is
 * done in pieces of seconds. Each piece waits for its turn here. Waiting short work goes before the next piece. So does
 * short work that comes within `courtesyMs` after other short work has ended: a clip needs several turns.
 *
 * Work enters in the order in which it came, and short work `headStartMs` before the rest. Work that does not fit yet
 * is overtaken by work that fits, until it has waited for `agedMs`: from then on, memory that becomes free is kept for
 * it. So small work does not wait for large work, and large work does not wait for ever.
 */
export type MemoryGate = {
  /** The whole budget. Work that needs more never fits. */
  readonly bytes: number;
  /** The budget of all long encodes together. */
  readonly longBytes: number;
  /** The budget of one picture. */
  readonly pictureBytes: number;

  /**
   * Waits until there is enough memory, then runs `work` with the number of bytes that it got. The memory is given back
   * when `work` has ended, in any case.
   * @throws the signal's reason, if it is aborted while waiting; RangeError for more than the whole budget
   */
  run<T>(need: number | Need, signal: AbortSignal, work: (bytes: number) => Promise<T>): Promise<T>;

  /** The same gate for the work of one job: waiting here does not count against its time limit, and is reported. */
  of(patience: Patience): MemoryGate;
};

export type Need = {
  /** Bytes, the largest first. It gets the first of these that is free, and waits for the last. */
  bytes: readonly [number, ...number[]];
  sort: Sort;
};

/**
 * `long`: an encode that may take hours; `piece`: the next seconds of an encode that needs more than the budget of long
 * encodes. Both are limited in number, and let short work go first.
 */
export type Sort = 'short' | 'long' | 'piece';

/** How a job waits, see JobContext in queue/job.ts. */
type Patience = {
  waiting<T>(what: string, turn: Promise<T>): Promise<T>;
  aside(): void;
};

/** Of milliseconds. */
export type Clock = { now(): number; after(ms: number, work: () => void): void };
const realClock: Clock = {
  now: () => performance.now(),
  after: (ms, work) => void setTimeout(work, ms),
};

type Entry = Need & { due: number; enter: (bytes: number) => void };
type Held = Record<Sort, { bytes: number; count: number }>;

/** Always kept free of long encodes: as much as a picture may take by default, and a clip of 1080p. */
const leastShare = 280e6;
const headStartMs = 15_000;
/** A piece may wait for longer: it takes 8 s, in which nothing else gets memory, and the next piece follows. */
const agedMs: Record<Sort, number> = { short: 10_000, long: 10_000, piece: 30_000 };
/** After short work ends, a piece waits so long if as much would not fit beside the piece. Not if it has aged. */
const courtesyMs = 1_000;
const patient: Patience = { waiting: (_what, turn) => turn, aside() {} };

/** @param slots how many pictures and clips may be worked on at once, however small they are */
export function createMemoryGate({
  bytes,
  pictureBytes = bytes,
  slots,
  clock = realClock,
}: {
  bytes: number;
  pictureBytes?: number;
  slots: number;
  clock?: Clock;
}): MemoryGate {
  const longBytes = Math.max(0, bytes - Math.max(leastShare, bytes * 0.4));
  const line = new Line({ bytes, longBytes, slots }, clock);

  function gateOf({ waiting, aside }: Patience): MemoryGate {
    return {
      bytes,
      longBytes,
      pictureBytes,
      of: gateOf,
      async run(asked, signal, work) {
        const need: Need = typeof asked === 'number' ? { bytes: [asked], sort: 'short' } : asked;
        const least = need.bytes.at(-1)!;
        const most = need.sort === 'long' ? longBytes : bytes;
        if (least > most) throw new RangeError(`${least} bytes are more than the whole budget of ${most}`);
        if (need.sort !== 'short') aside();
        const granted = await waiting('memory', line.enter(need, signal));
        try {
          return await work(granted);
        } finally {
          line.leave(need.sort, granted);
        }
      },
    };
  }
  return gateOf(patient);
}

const nothing = { bytes: 0, count: 0 };

/** The work that waits for memory, and the memory that is held. */
class Line {
  readonly #budget: { bytes: number; longBytes: number; slots: number };
  readonly #clock: Clock;
  readonly #held: Held = { short: { ...nothing }, long: { ...nothing }, piece: { ...nothing } };
  /** In order of their due times. */
  readonly #waiting: Entry[] = [];
  /** The most that recent short work held, and until when as much may follow. */
  #followed = { bytes: 0, until: -Infinity };
  #looksAgain = false;

  constructor(budget: { bytes: number; longBytes: number; slots: number }, clock: Clock) {
    this.#budget = budget;
    this.#clock = clock;
  }

  /** Resolves with the bytes that are held for it, once its turn has come. */
  enter(need: Need, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const due = this.#clock.now() + (need.sort === 'short' ? 0 : headStartMs);
    const giveUp = () => {
      this.#remove(entry);
      reject(signal.reason as Error);
      this.#admit();
    };
    const enter = (granted: number) => {
      signal.removeEventListener('abort', giveUp);
      resolve(granted);
    };
    const entry: Entry = { ...need, due, enter };
    signal.addEventListener('abort', giveUp, { once: true });
    const before = this.#waiting.findIndex((other) => other.due > due);
    this.#waiting.splice(before === -1 ? this.#waiting.length : before, 0, entry);
    this.#admit();
    return promise;
  }

  /** Gives memory back. */
  leave(sort: Sort, granted: number): void {
    this.#count(sort, granted, -1);
    if (sort === 'piece') this.#sendBehind();
    if (sort === 'short') this.#expectMore(granted);
    this.#admit();
  }

  #admit(): void {
    let longWaits = false;
    for (const entry of this.#waiting.slice()) {
      const isCourteous = this.#isCourteous(entry);
      if (isCourteous) this.#lookAgain();
      const isHeldBack = isCourteous || (longWaits && entry.sort !== 'short');
      const granted = isHeldBack ? undefined : this.#grant(entry, this.#held);
      if (granted !== undefined) {
        this.#remove(entry);
        this.#count(entry.sort, granted, 1);
        entry.enter(granted);
      } else if (this.#hasAged(entry)) return;
      else longWaits ||= entry.sort !== 'short';
    }
  }

  /** The most of what it asks for that is free; undefined if none of it is. */
  #grant({ bytes: wanted, sort }: Need, { short, long, piece }: Held): number | undefined {
    const { bytes, longBytes, slots } = this.#budget;
    const mostLong = Math.max(1, slots - 1);
    if (sort === 'short' ? short.count >= slots : long.count + piece.count >= mostLong) return undefined;
    const free = bytes - short.bytes - long.bytes - piece.bytes;
    const most = sort === 'long' ? Math.min(free, longBytes - long.bytes) : free;
    return wanted.find((some) => some <= most);
  }

  /** Whether it has waited long enough, and waits only for work that takes seconds. */
  #hasAged(entry: Entry): boolean {
    const held = { ...this.#held, short: nothing, piece: nothing };
    return this.#isOld(entry) && this.#grant(entry, held) !== undefined;
  }

  #isOld({ due, sort }: Entry): boolean {
    return this.#clock.now() > due + agedMs[sort];
  }

  /** Whether a piece leaves its room to the short work that may follow. */
  #isCourteous(entry: Entry): boolean {
    const { bytes, until } = this.#followed;
    const fitsBeside = entry.bytes.at(-1)! + bytes <= this.#budget.bytes;
    return entry.sort === 'piece' && !fitsBeside && this.#clock.now() < until && !this.#isOld(entry);
  }

  #expectMore(granted: number): void {
    const now = this.#clock.now();
    const before = now < this.#followed.until ? this.#followed.bytes : 0;
    this.#followed = { bytes: Math.max(before, granted), until: now + courtesyMs };
  }

  /** When the courtesy ends. */
  #lookAgain(): void {
    if (this.#looksAgain) return;
    this.#looksAgain = true;
    this.#clock.after(this.#followed.until - this.#clock.now(), () => {
      this.#looksAgain = false;
      this.#admit();
    });
  }

  /** After a piece, short work that waits goes before the next piece. */
  #sendBehind(): void {
    for (const entry of this.#waiting) if (entry.sort !== 'short') entry.due = Math.max(entry.due, this.#clock.now());
    this.#waiting.sort((a, b) => a.due - b.due || Number(b.sort === 'short') - Number(a.sort === 'short'));
  }

  #count(sort: Sort, some: number, times: 1 | -1): void {
    this.#held[sort].bytes += some * times;
    this.#held[sort].count += times;
  }

  #remove(entry: Entry): void {
    this.#waiting.splice(this.#waiting.indexOf(entry), 1);
  }
}
