/** The fewest connections to Postgres that a process works with. */
export const fewestConnections = 6;

/** How the connections that a process may open are divided. */
export type Connections = {
  most: number;
  /** For handlers and upkeep. */
  app: number;
  /** For tickets and starts. */
  claims: number;
  /** For what ends attempts, and for the watch over the fleet. */
  ledger: number;
};

/** One is the membership's, which holds a lock and listens; one is for asking the server about connections that do not answer. */
export function connectionsOf(most: number): Connections {
  const rest = most - 2;
  const claims = Math.min(4, Math.floor(rest / 3.5));
  const ledger = Math.min(3, Math.floor(rest / 4));
  return { most, app: rest - claims - ledger, claims, ledger };
}
