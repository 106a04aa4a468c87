import { hostname } from 'node:os';
import type { App } from '../../app.ts';
import type { Db } from '../../base/db/db.ts';
import { persist } from '../../base/db/persist.ts';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { bind, loadStatements, query, type Queryable, type Statement } from '../../base/db/sql.ts';
import type { JobRow } from '../job.ts';
import { paced } from '../../base/paced.ts';

/** What a job met: a DeploymentError, in words that may be stored. */
export type Fault = { dependency: string; error_code: string; error: string };
export type OpenIncident = { dependency: string; host: string | null; code: string; since: string };
export type ProbeJob = { id: number; kind: string; priority: number };

export type IncidentsOptions = {
  db: Db;
  /** For what is asked each second. */
  reads: Queryable;
  /** The channel on which workers are notified. */
  channel: string;
  dependencies: App['dependencies'];
  checkEveryMs: number;
  log: Log;
  signal: AbortSignal;
  /** The queues that this worker serves, without paused ones. */
  queues: () => string[];
  /** Called when the held kinds have changed. */
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
/**
 * After this number of executions that used no retry, an incident no longer holds the job that opens it: the job itself
 * may be at fault.
 */
const mostFree = 20;

/**
 * Faults of the deployment. While an incident is open, the jobs of the kinds that met it wait: their tickets are
 * dropped when they are claimed, and made again at its end. One job at a time runs as a probe.
 */
export class Incidents {
  readonly #options: IncidentsOptions;
  readonly #host = hostname();
  #held = new Set<string>();
  #open: OpenIncident[] = [];
  /** The probes that run here, by job. `checked`: the dependency's check had passed before. */
  readonly #probes = new Map<number, { incident: string; checked: boolean }>();
  /** The checks in flight, by dependency. */
  readonly #asking = new Map<string, Promise<boolean>>();
  readonly #refreshOnce = paced(0, () => this.#refreshNow());

  constructor(options: IncidentsOptions) {
    this.#options = options;
  }

  /**
   * A job has met a fault of the deployment.
   * @returns whether an incident holds it; otherwise the fault is the job's own failure
   */
  async meet(job: Job, { dependency, error_code: code, error: message }: Fault): Promise<boolean> {
    const { channel, dependencies, log, signal } = this.#options;
    const where = { dependency, host: dependencies[dependency]?.ofHost ? this.#host : null };
    const { id, queue } = job;
    const kind = nameOf(job);
    const fault = { ...where, kind, queue, channel };
    const [met] = await this.#insist<{ id: string; over: boolean }>(sql.meet_incident, fault);
    if (met) return !met.over && !(await this.#isOwn(job, met.id, dependency));
    const [meanwhile] = await this.#insist<{ ended: boolean }>(sql.ended_meanwhile, { ...where, id, queue });
    // A worker that stops would take its aborted check for a failed one.
    if (meanwhile?.ended || signal.aborted) return true;
    if (await this.#works(dependency)) return false;
    const words = message.replaceAll('\0', '\u{fffd}').toWellFormed();
    const [opened] = await this.#insist(sql.open_incident, { ...where, code, message: words, kind });
    if (!opened) return this.meet(job, { dependency, error_code: code, error: message });
    log.error({ dependency, code, kind }, 'an incident has begun: the jobs that need this dependency wait');
    await this.#refreshOnce();
    return job.attempt - job.retry_count <= mostFree;
  }

  /** Whether the fault of a probe is its own: the dependency passed its check both before and after it. */
  async #isOwn({ id }: Job, incident: string, dependency: string): Promise<boolean> {
    const probe = this.#probes.get(id);
    if (!probe?.checked || probe.incident !== incident || !(await this.#works(dependency))) return false;
    await this.#resolve(incident);
    return true;
  }

  /**
   * Runs the dependency's own check. The result of a check that is already in flight counts only if it is bad, because
   * the fault may be newer.
   */
  async #works(dependency: string): Promise<boolean> {
    const earlier = this.#asking.get(dependency);
    if (earlier && !(await earlier)) return false;
    return this.#asking.get(dependency) ?? this.#ask(dependency);
  }

  #ask(dependency: string): Promise<boolean> {
    const { dependencies, log, signal } = this.#options;
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
    })().finally(() => this.#asking.delete(dependency));
    this.#asking.set(dependency, asked);
    return asked;
  }

  /** Called when a job has ended, whether it was a probe or not. */
  async ended({ id }: Job, outcome: string): Promise<void> {
    const probe = this.#probes.get(id);
    if (!probe) return;
    this.#probes.delete(id);
    // A failure of the probe's own proves nothing by itself, but the check had passed.
    if (outcome === 'completed' || (probe.checked && (outcome === 'retry' || outcome === 'fail')))
      await this.#resolve(probe.incident);
  }

  async #resolve(id: string): Promise<void> {
    const { channel, log } = this.#options;
    type Resolved = { dependency: string; code: string; lasted_s: number };
    const [resolved] = await this.#insist<Resolved>(sql.resolve_incident, { id, channel });
    if (!resolved) return;
    const { dependency, code, lasted_s } = resolved;
    log.info({ dependency, code, lasted_s: Math.round(lasted_s) }, 'an incident has ended: its jobs go on');
    // Not awaited: this may have been called by `refresh`.
    void this.refresh();
  }

  async #refreshNow(): Promise<void> {
    const { reads, queues, checkEveryMs, onChange } = this.#options;
    const now = { host: this.#host, queues: queues(), check_every_s: checkEveryMs / 1_000 };
    const [state] = await query<State>(reads, sql.look_at_incidents, now);
    const { held: holding, release_due, check_due, probe_due } = state!;
    this.#open = state!.open;
    const changed = holding.length !== this.#held.size || holding.some((kind) => !this.#held.has(kind));
    this.#held = new Set(holding);
    if (changed) onChange();
    if (this.#open.some(({ host }) => host !== null && host !== this.#host)) await this.#resolveAbandoned();
    if (release_due) await this.#release();
    if (probe_due) await this.#sendProbe();
    if (check_due) void this.#askDue().catch(() => {});
  }

  async #resolveAbandoned(): Promise<void> {
    const { db, log } = this.#options;
    for (const abandoned of await query(db, sql.resolve_abandoned))
      log.info(abandoned, 'an incident has ended: its machine has no worker any more');
  }

  async #askDue(): Promise<void> {
    const { db, channel, dependencies, queues, checkEveryMs } = this.#options;
    const [claimed] = await query<{ id: string; dependency: string }>(db, sql.claim_check, {
      host: this.#host,
      queues: queues(),
      dependencies: Object.keys(dependencies),
      check_every_s: checkEveryMs / 1_000,
    });
    if (claimed && (await this.#works(claimed.dependency)))
      await query(db, sql.allow_probe, { id: claimed.id, channel });
  }

  async #sendProbe(): Promise<void> {
    const { db, queues, run } = this.#options;
    const [due] = await query<{ id: string; code: string; kinds: string[]; checked: boolean }>(db, sql.claim_probe, {
      host: this.#host,
      queues: queues(),
    });
    if (!due) return;
    for (const queue of queues().filter((name) => due.kinds.some((kind) => kind.startsWith(`${name}.`)))) {
      const find = bind(sql.find_probe, { live: `${queue}_jobs_live` });
      const [job] = await query<ProbeJob>(db, find, {
        kinds: due.kinds,
        code: due.code,
        except: [...this.#probes.keys()],
      });
      if (!job) continue;
      this.#probes.set(job.id, { incident: due.id, checked: due.checked });
      // A job that did not run proves nothing.
      void run(queue, job).finally(() => this.#probes.delete(job.id));
      return;
    }
    // No job waits that could probe it, so the check decides.
    if (due.checked) await this.#resolve(due.id);
  }

  async #release(): Promise<void> {
    const [ending] = await query<{ queues: string[]; kinds: string[] }>(this.#options.db, sql.claim_release);
    for (const queue of ending?.queues ?? []) {
      const statement = bind(sql.release_jobs, { live: `${queue}_jobs_live` });
      for (let after: number | null = Number.MIN_SAFE_INTEGER; after !== null;) {
        const chunk: { last: number | null }[] = await this.#insist(statement, { kinds: ending!.kinds, after });
        after = chunk[0]!.last;
      }
    }
  }

  /** Asks Postgres until it answers, or this worker ends. */
  #insist<Row extends Record<string, unknown>>(statement: Statement, values: Record<string, unknown>): Promise<Row[]> {
    const { db, signal } = this.#options;
    return persist(() => query<Row>(db, statement, values), signal);
  }

  /** Must be called each second, and when a notification says that something has changed. Never throws. */
  refresh(): Promise<void> {
    return this.#refreshOnce().catch((error: unknown) =>
      this.#options.log.debug({ detail: messageOf(error) }, 'could not read the incidents'),
    );
  }

  /** Whether the jobs of a kind wait for the end of an incident. */
  holds(job: { queue: string; kind: string }): boolean {
    return this.#held.size > 0 && this.#held.has(nameOf(job));
  }

  /** The incidents that are open, the oldest first. */
  open(): OpenIncident[] {
    return this.#open;
  }
}

const nameOf = ({ queue, kind }: { queue: string; kind: string }) => `${queue}.${kind}`;
