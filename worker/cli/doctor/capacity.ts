import { fewestConnections } from '../../base/config/connections.ts';
import type { Session } from '../../base/db/pooler.ts';
import { loadStatements } from '../../base/db/sql.ts';
import { ok, warn, type Check } from './check.ts';

const sql = loadStatements(import.meta.dirname, 'capacity.sql', ['limits']);

type Limit = {
  name: string;
  most: number;
  /** Connections of `most` that are reserved, such as for superusers. */
  reserved: number;
  in_use: number;
  /** Connections in use by Rowmill in this database, including this one. */
  ours: number;
};

/** For how many processes the server has connections. */
export async function checkCapacity(session: Session, connections: number): Promise<Check> {
  return judgeCapacity((await session.query(sql.limits.text)).rows as Limit[], connections);
}

/** @param connections the most that one process opens */
export function judgeCapacity(limits: Limit[], connections: number): Check {
  const free = ({ most, reserved, in_use, ours }: Limit) => most - reserved - (in_use - ours);
  const narrowest = limits.reduce((a, b) => (free(b) < free(a) ? b : a));
  const { name, most, reserved, in_use, ours } = narrowest;
  const room = Math.max(0, Math.floor(free(narrowest) / connections));

  const fit = room === 1 ? '1 process' : `${room} processes`;
  const detail =
    `room for ${fit} in all, of ${connections} connections at most: ${name} is ${most}, ` +
    `${reserved > 0 ? `${reserved} reserved, ` : ''}${in_use} in use, ${ours} of them by Rowmill`;
  if (room > 0) return ok('capacity', detail);
  const left = free(narrowest);
  const lower = left >= fewestConnections ? `, or set DATABASE_CONNECTIONS=${left}` : '';
  return warn(
    'capacity',
    detail,
    `raise ${name}, or close what others hold${lower}: jobs are late while connections lack`,
  );
}
