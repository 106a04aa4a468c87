/**
 * The jobs of claimed tickets that have not been started: they wait for room in this process, pending still, the most urgent first.
 */
export type Ticket = {
  kind?: string | undefined;
  ids: number[];
  priority: number;
  /** Runs although an incident holds its kind. */
  probe?: true;
};
/** A job of a ticket. `settle` is called once, when it has been run or turned out not to be ours. */
export type Waiting = { id: number; settle: () => void };
type Claimed = Ticket & { settle: () => void };

export function createBacklog() {
  const tickets: Claimed[] = [];
  let jobs = 0;

  /** Resolves when every job of the ticket is settled. */
  function add({ ids, ...ticket }: Ticket): Promise<void> {
    return new Promise((resolve) => {
      let open = ids.length;
      if (open === 0) return resolve();
      jobs += open;
      const settle = () => {
        if (--open === 0) resolve();
      };
      const before = tickets.findIndex((other) => other.priority > ticket.priority);
      // The ids are taken from the end.
      tickets.splice(before === -1 ? tickets.length : before, 0, { ...ticket, ids: ids.toReversed(), settle });
    });
  }

  /**
   * Takes out the next jobs to start, `max` at most, in groups: as many groups as there is room for, each of one job or of as many
   * of one kind as that kind runs by one call.
   */
  function next(room: number, batchSize: (kind: string | undefined) => number, max: number): Waiting[][] {
    const groups: Waiting[][] = [];
    for (let left = max; groups.length < room && left > 0 && tickets.length > 0;) {
      const { kind } = tickets[0]!;
      const size = batchSize(kind);
      const group = takeFrom(
        size === 1 ? [tickets[0]!] : tickets.filter((ticket) => ticket.kind === kind),
        Math.min(size, left),
      );
      groups.push(group);
      left -= group.length;
    }
    return groups;
  }

  function takeFrom(from: Claimed[], max: number): Waiting[] {
    const taken: Waiting[] = [];
    for (const ticket of from) {
      while (taken.length < max && ticket.ids.length > 0) taken.push({ id: ticket.ids.pop()!, settle: ticket.settle });
      if (ticket.ids.length === 0) tickets.splice(tickets.indexOf(ticket), 1);
    }
    jobs -= taken.length;
    return taken;
  }

  return {
    add,
    next,
    /** How many of the jobs that wait could be started next, with so much room. */
    usable: (room: number, batchSize: (kind: string | undefined) => number) =>
      Math.min(jobs, room * batchSize(tickets[0]?.kind)),
    /** How many jobs wait. */
    size: () => jobs,
    /** The priority of the least urgent ticket that has jobs waiting. */
    leastUrgent: (): number | undefined => tickets.at(-1)?.priority,
    /** Takes out what waits of the least urgent ticket. */
    takeLast: (): Waiting[] => takeFrom(tickets.slice(-1), Infinity),
    /** Takes out the jobs of the tickets that are meant. */
    takeWhere: (meant: (ticket: Ticket) => boolean): Waiting[] => takeFrom(tickets.filter(meant), Infinity),
    takeAll: (): Waiting[] => takeFrom([...tickets], Infinity),
  };
}
