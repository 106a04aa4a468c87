import { createHash } from 'node:crypto';
import type { App } from '../app.ts';
import { loadStatements, query } from '../base/db/sql.ts';
import { createGuard, type Guard } from '../base/http/guard.ts';
import { request } from '../base/http/request.ts';
import type { Observer } from '../queue/run/observer.ts';

/** Pings, by the protocol of https://healthchecks.io/docs/http_api/: a dead man's switch outside of the fleet. */

const sql = loadStatements(import.meta.dirname, 'pings.sql', [
  'claim_pings',
  'note_started',
  'delete_ping',
  'claim_fleet_ping',
]);
const service = {
  code: 'ping',
  name: 'The address of the ping',
  settings: { address: 'schedules.ping_url and FLEET_PING_URL', secret: 'the address' },
};
const timeoutMs = 10_000;
/** Within half an hour: each try waits 30 seconds more than the one before. */
const mostTries = 10;
const recentlyMs = 60_000;

type Parts = Pick<App, 'db' | 'config' | 'log'>;
type Ping = {
  job_id: number;
  schedule: string;
  url: string;
  tries: number;
  status: 'processing' | 'completed' | 'failed' | 'cancelled' | null;
  error_code: string | null;
  /** What the catalogue of errors says of the code. */
  explained: string | null;
};

/** Whether this process has claimed jobs lately. Its observer must be given to the worker. */
export function claimClock(): Observer & { lately(): boolean } {
  let at = -Infinity;
  return {
    started: () => void (at = performance.now()),
    ended() {},
    lately: () => performance.now() - at < recentlyMs,
  };
}

/** Tells of the jobs of schedules. What is not taken is told again later, by any worker. */
export async function pingSchedules({ db, config, log }: Parts, signal: AbortSignal): Promise<void> {
  // In development a copy of production's data must not reach production's receivers.
  if (!config.webhook.sends) return;
  const guard = createGuard(config.webhook);
  const due = await query<Ping>(db, sql.claim_pings);
  await Promise.all(due.map(tell));

  async function tell(ping: Ping): Promise<void> {
    const { job_id, schedule, tries } = ping;
    try {
      if (ping.status !== null) await send(placeOf(ping), bodyOf(ping), guard, signal);
      await query(db, ping.status === 'processing' ? sql.note_started : sql.delete_ping, { job_id });
    } catch (error) {
      if (signal.aborted) return;
      log.warn({ schedule, job_id, tries, err: error }, 'a ping was not taken');
      if (tries >= mostTries) await query(db, sql.delete_ping, { job_id });
    }
  }
}

/** Asks FLEET_PING_URL, once a minute over the fleet, while the fleet works. */
export async function pingFleet({ db, config }: Parts, claimed: boolean, signal: AbortSignal): Promise<void> {
  const { fleetPingUrl } = config.alerts;
  if (fleetPingUrl === undefined) return;
  const [turn] = await query(db, sql.claim_fleet_ping, { claimed });
  if (turn) await send(new URL(fleetPingUrl), '', createGuard(config.webhook), signal);
}

const verbs = { processing: '/start', completed: '', failed: '/fail', cancelled: '/fail' };

/** `rid` joins the start and the end of one job: the address knows how long it took. */
function placeOf({ url, job_id, schedule, status }: Ping): URL {
  const place = new URL(url);
  place.pathname = place.pathname.replace(/\/+$/, '') + verbs[status!];
  const hash = createHash('sha256').update(`${schedule}@${job_id}`).digest('hex');
  const rid = hash.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  place.searchParams.set('rid', rid);
  return place;
}

/** Never a payload, nor what the error of this job says: that may quote one. */
function bodyOf({ job_id, status, error_code, explained }: Ping): string {
  if (status === 'cancelled') return `job ${job_id} was cancelled${error_code === null ? '' : `: ${error_code}`}`;
  return status === 'failed' ? `job ${job_id}: ${error_code ?? 'failed'}\n${explained ?? ''}` : '';
}

/** @throws if the answer is no success */
async function send(url: URL, body: string, guard: Guard, signal: AbortSignal): Promise<void> {
  const headers = { 'content-type': 'text/plain; charset=utf-8', 'user-agent': 'Rowmill' };
  const { status } = await request(url, { service, method: 'POST', headers, body, guard, timeoutMs, signal });
  if (status < 200 || status > 299) throw new Error(`it answered ${status}`);
}
