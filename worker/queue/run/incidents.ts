import { hostname } from 'node:os';
import type { App } from '../../app.ts';
import type { Db } from '../../base/db/db.ts';
import { persist } from '../../base/db/persist.ts';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { bind, loadStatements, query, type Statement } from '../../base/db/sql.ts';
import type { JobRow } from '../job.ts';
import { paced } from '../../base/paced.ts';

/**
 * Faults of the deployment. While an incident is open, the jobs of the kinds that met it wait: their tickets are dropped when they are
 * claimed, and made again at its end. One job at a time runs as a probe.
 */
export type Incidents = ReturnType<typeof createIncidents>;

/** What a job met: a DeploymentError, in words that may be stored. */
export type Fault = { dependency: string; error_code: string; error: string };
export type OpenIncident = { dependency: string; host: string | null; code: string; since: string };
export type ProbeJob = { id: number; kind: string; priority: number };

export type IncidentsOptions = {
  db: Db;
  /** On which workers are told what happened. */
  channel: string;
  dependencies: App['dependencies'];
  checkEveryMs: number;
  log: Log;
  signal: AbortSignal;
  /** The queues that this worker serves, without those that are paused. */
  queues: () => string[];
  /** Called when other kinds are held than before. */
  onChange: () => void;
  /** Runs a job although its kind is held. Resolves when it has ended, or has turned out not to be ours. */
  run: (queue: string, job: ProbeJob) => Promise<void>;
};

type Job = Pick<JobRow, 'id' | 'queue' | 'kind' | 'attempt' | 'retry_count'>;
type State = { held: string[]; open: OpenIncident[]; release_due: boolean; check_due: boolean; probe_due: boolean };

const sql = loadStatements(import.meta.dirname, 'incidents.sql', [
  'meet_incident',
  'ended_meanwhile',
  'open_incident',
  'resolve_incident',
  'resolve_abandoned',
  'look_at_incidents',
  'claim_check',
  'allow_probe',
  'claim_probe',
  'find_probe',
  'claim_release',
  'release_jobs',
]);
const checkTimeoutMs = 20_000;
/** Executions that used no retry, after which a job that opens an incident is not held by it any more: it may be the job that is at fault. */
const mostFree = 20;

export function createIncidents(options: IncidentsOptions) {
  const { db, channel, dependencies, checkEveryMs, log, signal, queues, onChange, run } = options;
  const host = hostname();
  let held = new Set<string>();
  let open: OpenIncident[] = [];
  /** The probes that run here, by job. `checked`: the dependency's check had passed before. */
  const probes = new Map<number, { incident: string; checked: boolean }>();
  const asking = new Map<string, Promise<boolean>>();

  /**
   * A job has met a fault of the deployment.
   * @returns whether an incident holds it; else the fault is the job's own failure
   */
  async function meet(job: Job, { dependency, error_code: code, error: message }: Fault): Promise<boolean> {
    const where = { dependency, host: dependencies[dependency]?.ofHost ? host : null };
    const kind = nameOf(job);
    const [met] = await insist<{ id: string; over: boolean }>(sql.meet_incident, {
      ...where,
      kind,
      queue: job.queue,
      channel,
    });
    if (met) return !met.over && !(await isOwn(job, met.id, dependency));
    const [meanwhile] = await insist<{ ended: boolean }>(sql.ended_meanwhile, {
      ...where,
      id: job.id,
      queue: job.queue,
    });
    // A worker that stops would take its aborted check for a failed one.
    if (meanwhile?.ended || signal.aborted) return true;
    if (await works(dependency)) return false;
    const words = message.replaceAll('\0', '\u{fffd}').toWellFormed();
    const [opened] = await insist(sql.open_incident, { ...where, code, message: words, kind });
    if (!opened) return meet(job, { dependency, error_code: code, error: message });
    log.error({ dependency, code, kind }, 'an incident has begun: the jobs that need this dependency wait');
    await look();
    return job.attempt - job.retry_count <= mostFree;
  }

  /** Of a probe whose dependency passed its check both before and after it, the fault is its own. */
  async function isOwn({ id }: Job, incident: string, dependency: string): Promise<boolean> {
    const probe = probes.get(id);
    if (!probe?.checked || probe.incident !== incident || !(await works(dependency))) return false;
    await resolve(incident);
    return true;
  }

  /** Asks the dependency's own check. An answer that was on its way already counts only if it is bad: the fault may be newer. */
  async function works(dependency: string): Promise<boolean> {
    const earlier = asking.get(dependency);
    if (earlier && !(await earlier)) return false;
    return asking.get(dependency) ?? ask(dependency);
  }

  function ask(dependency: string): Promise<boolean> {
    const check = dependencies[dependency]?.check;
    const asked = (async () => {
      if (!check) return false;
      try {
        await check(AbortSignal.any([signal, AbortSignal.timeout(checkTimeoutMs)]));
        return true;
      } catch (error) {
        log.debug({ err: error, dependency }, 'a check failed');
        return false;
      }
    })().finally(() => asking.delete(dependency));
    asking.set(dependency, asked);
    return asked;
  }

  /** What became of a job, whether it was a probe or not. */
  async function ended({ id }: Job, outcome: string): Promise<void> {
    const probe = probes.get(id);
    if (!probe) return;
    probes.delete(id);
    // A failure of its own says nothing by itself, but the check had passed.
    if (outcome === 'completed' || (probe.checked && (outcome === 'retry' || outcome === 'fail')))
      await resolve(probe.incident);
  }

  async function resolve(id: string): Promise<void> {
    const [resolved] = await insist<{ dependency: string; code: string; lasted_s: number }>(sql.resolve_incident, {
      id,
      channel,
    });
    if (!resolved) return;
    const { dependency, code, lasted_s } = resolved;
    log.info({ dependency, code, lasted_s: Math.round(lasted_s) }, 'an incident has ended: its jobs go on');
    // Not awaited: it may be a look that came here.
    void look().catch(() => {});
  }

  /** To be called each second, and when somebody says that something has changed. */
  const look = paced(0, async () => {
    const now = { host, queues: queues(), check_every_s: checkEveryMs / 1_000 };
    const [state] = await query<State>(db, sql.look_at_incidents, now);
    const { held: holding, release_due, check_due, probe_due } = state!;
    open = state!.open;
    const changed = holding.length !== held.size || holding.some((kind) => !held.has(kind));
    held = new Set(holding);
    if (changed) onChange();
    if (open.some((incident) => incident.host !== null && incident.host !== host)) await resolveAbandoned();
    if (release_due) await release();
    if (probe_due) await sendProbe();
    if (check_due) void askDue().catch(() => {});
  });

  async function resolveAbandoned(): Promise<void> {
    for (const abandoned of await query(db, sql.resolve_abandoned))
      log.info(abandoned, 'an incident has ended: its machine has no worker any more');
  }

  async function askDue(): Promise<void> {
    const due = { host, dependencies: Object.keys(dependencies), check_every_s: checkEveryMs / 1_000 };
    const [claimed] = await query<{ id: string; dependency: string }>(db, sql.claim_check, due);
    if (claimed && (await works(claimed.dependency))) await query(db, sql.allow_probe, { id: claimed.id, channel });
  }

  async function sendProbe(): Promise<void> {
    const [due] = await query<{ id: string; code: string; kinds: string[]; checked: boolean }>(db, sql.claim_probe, {
      host,
      queues: queues(),
    });
    if (!due) return;
    for (const queue of queues().filter((name) => due.kinds.some((kind) => kind.startsWith(`${name}.`)))) {
      const find = bind(sql.find_probe, { live: `${queue}_jobs_live` });
      const [job] = await query<ProbeJob>(db, find, {
        kinds: due.kinds,
        code: due.code,
        except: [...probes.keys()],
      });
      if (!job) continue;
      probes.set(job.id, { incident: due.id, checked: due.checked });
      // What did not run says nothing.
      void run(queue, job).finally(() => probes.delete(job.id));
      return;
    }
    // No job waits that could show it, so the check does.
    if (due.checked) await resolve(due.id);
  }

  async function release(): Promise<void> {
    const [ending] = await query<{ queues: string[]; kinds: string[] }>(db, sql.claim_release);
    for (const queue of ending?.queues ?? []) {
      const statement = bind(sql.release_jobs, { live: `${queue}_jobs_live` });
      for (let after: number | null = Number.MIN_SAFE_INTEGER; after !== null;)
        [{ last: after }] = (await insist<{ last: number | null }>(statement, { kinds: ending!.kinds, after })) as [
          { last: number | null },
        ];
    }
  }

  /** Asks Postgres until it answers, or this worker ends. */
  const insist = <Row extends Record<string, unknown>>(statement: Statement, values: Record<string, unknown>) =>
    persist(() => query<Row>(db, statement, values), signal);

  return {
    meet,
    ended,
    look: () =>
      look().catch((error: unknown) => log.debug({ detail: messageOf(error) }, 'could not look at incidents')),
    /** Whether the jobs of a kind wait for the end of an incident. */
    holds: (job: { queue: string; kind: string }): boolean => held.size > 0 && held.has(nameOf(job)),
    /** The incidents that are open, the oldest first. */
    open: (): OpenIncident[] => open,
  };
}

const nameOf = ({ queue, kind }: { queue: string; kind: string }) => `${queue}.${kind}`;
