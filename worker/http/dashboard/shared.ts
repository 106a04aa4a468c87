import { cached } from '../../base/cached.ts';
import type { Db } from '../../base/db/db.ts';
import { throughput, type Throughput } from '../../queue/client/throughput.ts';
import { readFleet, type Fleet } from '../../queue/client/trouble.ts';

/**
 * What many parts of pages show. It is read once, whoever looks at how many of them: 200 open dashboards cost Postgres
 * no more than one.
 */
export type Shared = {
  fleet(): Promise<Fleet>;
  /** What the fleet has done in so many hours. */
  lately(hours: 1 | 24): Promise<Throughput>;
  /** Somebody has changed something here: it is read anew. */
  forget(): void;
};

/** Shorter than the pause between two renderings of a live part, so that each of them is up to date. */
const freshMs = 1_500;
const hourMs = 3_600_000;

export function createShared(db: Db): Shared {
  const lately = (hours: number) => () => throughput(db, { since: new Date(Date.now() - hours * hourMs) });
  const readers = () => ({
    fleet: cached(freshMs, () => readFleet(db)),
    1: cached(freshMs, lately(1)),
    24: cached(freshMs, lately(24)),
  });
  let current = readers();
  return {
    fleet: () => current.fleet(),
    lately: (hours) => current[hours](),
    forget: () => (current = readers()),
  };
}
