export type Ticket = {
  kind?: string | undefined;
  ids: number[];
  priority: number;
  /** Runs although an incident holds its kind. */
  probe?: true;
};
/** A job of a ticket. `settle` is called once, when it has run or turned out not to be ours. */
export type Waiting = { id: number; settle: () => void };
type Claimed = Ticket & { settle: () => void };

/** The most tickets to claim at once because they are expected to be small: large ones may come instead. */
const mostSmall = 4;

/** The jobs of claimed tickets that are not started yet. Their rows are still pending; the most urgent come first. */
export class Backlog {
  readonly #tickets: Claimed[] = [];
  #jobs = 0;
  /** Jobs on the next ticket: as many as on the last one, or half of what was expected then. */
  #expected = 1;

  /** How many jobs wait. */
  get size(): number {
    return this.#jobs;
  }

  /**
   * How many tickets to claim for this number of jobs. A ticket has up to `ticketSize` jobs of one insert. Jobs that
   * are inserted one by one have a ticket each: if it were taken for a full one, they would be claimed one by one.
   */
  ticketsFor(jobs: number, ticketSize: number): number {
    return Math.max(Math.ceil(jobs / ticketSize), Math.min(Math.ceil(jobs / this.#expected), mostSmall));
  }

  /** Resolves when every job of the ticket is settled. */
  add({ ids, ...ticket }: Ticket): Promise<void> {
    return new Promise((resolve) => {
      let open = ids.length;
      if (open === 0) return resolve();
      this.#jobs += open;
      this.#expected = Math.max(open, this.#expected / 2);
      const settle = () => {
        if (--open === 0) resolve();
      };
      const before = this.#tickets.findIndex((other) => other.priority > ticket.priority);
      // The ids are taken from the end.
      const claimed = { ...ticket, ids: ids.toReversed(), settle };
      this.#tickets.splice(before === -1 ? this.#tickets.length : before, 0, claimed);
    });
  }

  /**
   * Takes the next jobs to start, `max` at most, in groups: one group per free slot. A group is one job, or as many of
   * one kind as that kind runs with one call.
   */
  next(room: number, batchSize: (kind: string | undefined) => number, max: number): Waiting[][] {
    const groups: Waiting[][] = [];
    for (let left = max; groups.length < room && left > 0 && this.#tickets.length > 0;) {
      const { kind } = this.#tickets[0]!;
      const size = batchSize(kind);
      const from = size === 1 ? [this.#tickets[0]!] : this.#tickets.filter((ticket) => ticket.kind === kind);
      const group = this.#takeFrom(from, Math.min(size, left));
      groups.push(group);
      left -= group.length;
    }
    return groups;
  }

  #takeFrom(from: Claimed[], max: number): Waiting[] {
    const taken: Waiting[] = [];
    for (const ticket of from) {
      while (taken.length < max && ticket.ids.length > 0) taken.push({ id: ticket.ids.pop()!, settle: ticket.settle });
      if (ticket.ids.length === 0) this.#tickets.splice(this.#tickets.indexOf(ticket), 1);
    }
    this.#jobs -= taken.length;
    return taken;
  }

  /** How many jobs of the backlog could be started next, with this many slots. */
  usable(room: number, batchSize: (kind: string | undefined) => number): number {
    return Math.min(this.#jobs, room * batchSize(this.#tickets[0]?.kind));
  }

  /** The priority of the least urgent ticket that has jobs waiting. */
  leastUrgent(): number | undefined {
    return this.#tickets.at(-1)?.priority;
  }

  /** Takes the jobs of the least urgent ticket. */
  takeLast(): Waiting[] {
    return this.#takeFrom(this.#tickets.slice(-1), Infinity);
  }

  /** Takes the jobs of the tickets that match. */
  takeWhere(meant: (ticket: Ticket) => boolean): Waiting[] {
    return this.#takeFrom(this.#tickets.filter(meant), Infinity);
  }

  takeAll(): Waiting[] {
    return this.#takeFrom([...this.#tickets], Infinity);
  }
}
