import { readAddress } from '../../base/address.ts';
import { ok, warn, type Check } from './check.ts';

const name = 'host of Postgres';

type Host = {
  /** Matches `host:port`. */
  at: RegExp;
  check(connections: number): Check;
};

/** Clients of Supabase's session pooler on its small computes: https://supabase.com/docs/guides/database/connection-management */
const supabaseClients = 15;

/** What these hosts do, and no question to the server tells. The first that matches counts. */
const hosts: Host[] = [
  {
    at: /\.pooler\.supabase\.com:6543$/,
    check: () =>
      warn(
        name,
        'Supabase, its transaction pooler: locks and LISTEN do not work there',
        'use the session pooler: the same host, port 5432',
      ),
  },
  {
    at: /\.pooler\.supabase\.com:/,
    check(connections) {
      const detail = `Supabase, its session pooler, which admits ${supabaseClients} clients on small computes`;
      // During a deploy the old and the new process both have connections.
      if (2 * connections <= supabaseClients) return ok(name, `${detail}: two processes of ${connections} fit`);
      return warn(
        name,
        `${detail}: ${connections} connections of this process, twice in a deploy, do not fit`,
        'set DATABASE_CONNECTIONS=7, or raise the pool size in the settings of the database',
      );
    },
  },
  {
    at: /^db\.\w+\.supabase\.co:/,
    check: () => ok(name, 'Supabase, direct. This host has IPv6 only, unless IPv4 was added'),
  },
  {
    at: /-pooler\..*\.neon\.tech:/,
    check: () =>
      warn(
        name,
        'Neon, its transaction pooler: locks and LISTEN do not work there',
        'use the host without -pooler in its name',
      ),
  },
  {
    at: /\.neon\.tech:/,
    check: () => ok(name, 'Neon, direct. Its compute does not sleep while a worker runs, and costs accordingly'),
  },
  {
    at: /\.proxy-\w+\.[\w-]+\.rds\.amazonaws\.com:/,
    check: () =>
      warn(
        name,
        'RDS Proxy: it pins each of our sessions to a connection, so it saves none',
        'use the endpoint of the instance',
      ),
  },
  {
    at: /\.db\.ondigitalocean\.com:25061$/,
    check: () => warn(name, 'DigitalOcean, a connection pool, which is mostly one of transactions', 'use port 25060'),
  },
  {
    at: /\.proxy\.rlwy\.net:/,
    check: () =>
      ok(name, 'Railway, its public address. Inside Railway the private one (railway.internal) costs no traffic'),
  },
];

/** What is known of the service that hosts the database; undefined for any other. */
export function checkHosting(url: string, connections: number): Check | undefined {
  const { host, port = 5432 } = readAddress(url);
  return hosts.find(({ at }) => at.test(`${host.toLowerCase()}:${port}`))?.check(connections);
}

/** What to do where the network does not reach a host; undefined if nothing special is known. */
export function unreachableFix(host: string): string | undefined {
  if (/^db\.\w+\.supabase\.co$/.test(host))
    return (
      'this host has IPv6 only, and here is no IPv6: use the address of the session pooler ' +
      '(Connect, Session pooler, in the dashboard of Supabase)'
    );
  return undefined;
}
