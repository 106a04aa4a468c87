import { createGate } from './gate.ts';
import type { Waking } from './waking.ts';

/** Claims in flight while the number of due tickets is unknown. */
const mostInFlight = 4;

/** Decides how many tickets graphile-worker claims, and when: as many as are due, as far as there is room. */
export class Claims {
  readonly gate = createGate();
  /** When Postgres last answered a claim, or that no ticket is due. */
  answeredAt = Date.now();
  readonly #room: () => number;
  readonly #waking: Pick<Waking, 'found' | 'exhausted'>;
  /** Claims that were admitted and not answered yet. */
  #inFlight = 0;
  /** When the current search began; Infinity: none. It ends when a claim that began after it finds nothing. */
  #searchedAt = Infinity;
  /** When each of graphile-worker's slots began its claim. */
  readonly #askedAt = new WeakMap<object, number>();
  #closed = false;

  constructor(room: () => number, waking: Pick<Waking, 'found' | 'exhausted'>) {
    this.#room = room;
    this.#waking = waking;
  }

  /**
   * Claims this number of due tickets. A claim in flight may return nothing although a ticket is due: another claim
   * took the one that it saw, and the new one came after its snapshot. Then, or without room for all, we claim until a
   * claim that began after this call finds nothing.
   */
  wake(tickets: number): void {
    const overlaps = this.#inFlight > 0;
    if (this.#claim(tickets) < tickets || overlaps) this.#searchedAt = performance.now();
  }

  /** Claims due tickets when their number is unknown: a claim that finds one is followed by more. */
  search(): void {
    this.#searchedAt = performance.now();
    this.#claim(1);
  }

  /** Searches, unless it does or will as soon as there is room. */
  poll(): void {
    if (this.#searchedAt === Infinity) this.search();
  }

  /** Continues a search that has not ended. */
  goOn(most = mostInFlight): void {
    if (this.#searchedAt < Infinity) this.#claim(most - this.#inFlight);
  }

  /** Claims tickets, as far as there is room. @returns how many claims it started */
  #claim(times: number): number {
    if (this.#closed) return 0;
    const claims = Math.max(0, Math.min(times, this.#room() - this.#inFlight));
    this.#inFlight += claims;
    this.gate.admit(claims);
    return claims;
  }

  /** Claims nothing more. */
  close(): void {
    this.#closed = true;
  }

  /** To be called when a slot begins a claim. */
  asked(slot: object): void {
    this.#askedAt.set(slot, performance.now());
  }

  /** To be called when a claim has returned a ticket. */
  found(): void {
    this.#answered();
    this.#waking.found();
  }

  /** To be called when a claim has returned nothing. */
  foundNothing(slot: object): void {
    this.#answered();
    // This claim began before the search, so it could not see the new tickets: claim once more.
    if (this.#askedAt.get(slot)! < this.#searchedAt) return this.goOn(1);
    this.#searchedAt = Infinity;
    this.#waking.exhausted();
  }

  #answered(): void {
    this.#inFlight--;
    this.answeredAt = Date.now();
  }
}
