import { cached } from '../base/cached.ts';
import type { Db } from '../base/db/db.ts';
import { loadStatements, query } from '../base/db/sql.ts';
import { within } from '../base/deadline.ts';
import type { QueueCounts } from '../queue/client/counts.ts';

const sql = loadStatements(import.meta.dirname, 'fleet.sql', ['fleet']);

/** What the rows of the database say: every process of the fleet reads the same. */
export type Fleet = {
  queues: QueueCounts[];
  workers: number;
  /** Enabled schedules that have an error, or whose tick is a minute late. */
  schedules_late: number;
  incidents: number;
  /** Counted up to 10,000, as are the two below. */
  messages_rejected: number;
  deliveries_ambiguous: number;
  /** Attempts of the last five minutes whose worker died. */
  attempts_lost: number;
  bridges: { bridge: string; connected: boolean }[];
};

/** `fleet` is undefined while Postgres gives no answer; `up` is whether it answers the engine. */
export type Found = { fleet: Fleet | undefined; up: boolean };
export type FleetReader = () => Promise<Found>;

const freshMs = 5_000;
const patienceMs = 3_000;

/**
 * Reads all of it by one statement, at most once in five seconds, whoever asks and how often.
 * @param ping asks on the engine's connections: handlers may hold all others
 */
export function fleetReader(db: Db, ping: () => Promise<unknown>): FleetReader {
  let asking: Promise<Fleet | undefined> | undefined;
  return cached(freshMs, async () => {
    // One that gets no answer is not asked again: it would take one connection after another.
    asking ??= query<{ fleet: Fleet }>(db, sql.fleet)
      .then(([row]) => row!.fleet)
      .catch(() => undefined)
      .finally(() => (asking = undefined));
    const fleet = await within(patienceMs, asking);
    return { fleet, up: fleet !== undefined || (await reaches(ping)) };
  });
}

async function reaches(ping: () => Promise<unknown>): Promise<boolean> {
  const answer = ping().then(
    () => true,
    () => false,
  );
  return (await within(patienceMs, answer)) ?? false;
}
