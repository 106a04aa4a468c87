/** The fewest connections to Postgres with which a process works. */
export const fewestConnections = 6;

/** How the connections that a process may open are divided. */
export type Connections = {
  most: number;
  /** For handlers and upkeep. */
  app: number;
  /** For claiming tickets and starting jobs. */
  claims: number;
  /** For writing outcomes, and for watching the fleet. */
  ledger: number;
};

/**
 * Two are not in a pool: the membership's, which holds the lock and listens, and the one that asks the server about
 * connections that do not answer.
 */
export function connectionsOf(most: number): Connections {
  const rest = most - 2;
  const claims = Math.min(4, Math.floor(rest / 3.5));
  const ledger = Math.min(3, Math.floor(rest / 4));
  return { most, app: rest - claims - ledger, claims, ledger };
}
