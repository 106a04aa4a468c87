import { collectDefaultMetrics, Counter, Gauge, Registry as Prometheus } from 'prom-client';
import type { Bridges } from '../bridges/bridges.ts';
import { version } from '../queue/fleet/version.ts';
import type { Registry } from '../queue/registry.ts';
import type { Observer } from '../queue/run/observer.ts';
import { Attempts } from './attempts.ts';
import type { Fleet, Found } from './fleet.ts';
import { Notifications } from './notifications.ts';

type Taken = ReturnType<Bridges['taken']>;

/**
 * What `GET /metrics` says, in the format of Prometheus. Gauges are of the whole fleet: they come from rows, and every
 * process says the same. Counters and histograms are of this process. No label has more values than there are queues,
 * kinds, bridges and channels.
 */
export class Metrics {
  readonly #prometheus = new Prometheus();
  readonly observer: Observer;
  readonly notifications: Notifications;
  readonly #up: Gauge;
  readonly #setRows: (fleet: Partial<Fleet>) => void;
  #taken: Taken = {};
  #scraped = false;

  constructor(registry: Registry) {
    const prometheus = this.#prometheus;
    const registers = [prometheus];
    this.observer = new Attempts(registry, prometheus);
    this.notifications = new Notifications(prometheus);
    this.#up = new Gauge({ name: 'rowmill_database_up', help: '1 while Postgres answers', registers });
    new Gauge({ name: 'rowmill_info', help: 'The version', labelNames: ['version'], registers }).set({ version }, 1);
    this.#setRows = gaugesOfRows(registers);
    const taken = () => this.#taken;
    const counter = new Counter({
      name: 'rowmill_bridge_messages_total',
      help: 'Messages that this process took from a bridge, by result: created, known, rejected',
      labelNames: ['bridge', 'result'],
      registers: [],
      collect() {
        this.reset();
        for (const [bridge, results] of Object.entries(taken()))
          for (const [result, messages] of Object.entries(results)) this.inc({ bridge, result }, messages);
      },
    });
    prometheus.registerMetric(counter);
  }

  readonly contentType = Prometheus.PROMETHEUS_CONTENT_TYPE;

  /** While Postgres gives no answer, the gauges that come from rows are left out. */
  async text({ fleet, up }: Found, taken: Taken = {}): Promise<string> {
    // Those of Node. To watch its garbage collection costs 1 to 2 % in bulk: only where somebody looks.
    if (!this.#scraped) collectDefaultMetrics({ register: this.#prometheus });
    this.#scraped = true;
    this.#taken = taken;
    this.#up.set(up ? 1 : 0);
    this.#setRows(fleet ?? {});
    return this.#prometheus.metrics();
  }

  /** Ends what runs in the background. */
  close(): void {
    this.#prometheus.clear();
  }
}

/** @returns what sets them all; those that are not given are left out */
function gaugesOfRows(registers: Prometheus[]): (fleet: Partial<Fleet>) => void {
  const gauge = <Label extends string>(name: string, help: string, labelNames: Label[] = []) =>
    new Gauge({ name: `rowmill_${name}`, help, labelNames, registers });
  const jobs = gauge('jobs', 'Jobs, by queue and state: waiting, active, delayed, failed, completed', [
    'queue',
    'state',
  ]);
  const oldest = gauge('oldest_due_seconds', 'For how long the oldest waiting job has been due; 0: none waits', [
    'queue',
  ]);
  const paused = gauge('queue_paused', '1 while the queue is paused', ['queue']);
  const age = gauge('jobs_age_seconds', 'How old rowmill_jobs is: of a large queue, some seconds', ['queue']);
  const connected = gauge('bridge_connected', '1 while every worker that runs the bridge is connected', ['bridge']);
  const single: [
    Gauge,
    keyof Fleet &
      ('workers' | 'schedules_late' | 'incidents' | 'messages_rejected' | 'deliveries_ambiguous' | 'attempts_lost'),
  ][] = [
    [gauge('workers', 'Living workers'), 'workers'],
    [gauge('schedules_late', 'Enabled schedules that have an error, or are a minute late'), 'schedules_late'],
    [gauge('incidents', 'Open incidents: faults of the deployment that hold jobs'), 'incidents'],
    [gauge('messages_rejected', 'Messages that could not become jobs; counted up to 10,000'), 'messages_rejected'],
    [
      gauge('deliveries_ambiguous', 'Messages of which nobody knows whether they were sent; up to 10,000'),
      'deliveries_ambiguous',
    ],
    [gauge('attempts_lost', 'Attempts of the last five minutes whose worker died; up to 10,000'), 'attempts_lost'],
  ];
  return (fleet) => {
    for (const each of [jobs, oldest, paused, age, connected, ...single.map(([one]) => one)]) each.reset();
    for (const { queue, oldest_due_s, age_s, paused: isPaused, ...states } of fleet.queues ?? []) {
      for (const [state, counted] of Object.entries(states)) jobs.set({ queue, state }, counted);
      oldest.set({ queue }, oldest_due_s ?? 0);
      paused.set({ queue }, isPaused ? 1 : 0);
      age.set({ queue }, age_s);
    }
    for (const { bridge, connected: isConnected } of fleet.bridges ?? [])
      connected.set({ bridge }, isConnected ? 1 : 0);
    for (const [one, name] of single) {
      const value = fleet[name];
      if (value === undefined) one.remove();
      else one.set(value);
    }
  };
}
