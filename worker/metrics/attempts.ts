import { Counter, type Registry as Prometheus } from 'prom-client';
import type { JobRow } from '../queue/job.ts';
import { ByKind } from '../queue/by-kind.ts';
import type { Registry } from '../queue/registry.ts';
import type { Ended, Observer } from '../queue/run/observer.ts';
import { Bucketed, ReadHistogram } from './histogram.ts';

const seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600] as const;

type Kind = {
  labels: { queue: string; kind: string };
  outcomes: Partial<Record<Ended['outcome'], number>>;
  duration: Bucketed;
  wait: Bucketed;
};

/** Counts the attempts of this process, for Prometheus. */
export class Attempts implements Observer {
  readonly #kinds: ByKind<Kind>;

  constructor(registry: Registry, prometheus: Prometheus) {
    const kinds = new ByKind<Kind>(registry, (queue, kind) => ({
      labels: { queue, kind },
      outcomes: {},
      duration: new Bucketed(seconds),
      wait: new Bucketed(seconds),
    }));
    this.#kinds = kinds;
    const labelNames = ['queue', 'kind'];
    const counter = new Counter({
      name: 'rowmill_jobs_total',
      help: 'Attempts that ended in this process, by outcome',
      labelNames: [...labelNames, 'outcome'],
      registers: [],
      collect() {
        this.reset();
        for (const { labels, outcomes } of kinds.values())
          for (const [outcome, ended] of Object.entries(outcomes)) this.inc({ ...labels, outcome }, ended);
      },
    });
    prometheus.registerMetric(counter);
    const histogram = (name: string, help: string, part: 'duration' | 'wait') => {
      const read = () => [...kinds.values()].map((kind) => ({ labels: kind.labels, of: kind[part] }));
      prometheus.registerMetric(new ReadHistogram({ name, help, bounds: seconds, labelNames, registers: [] }, read));
    };
    histogram('rowmill_job_duration_seconds', 'How long attempts ran', 'duration');
    histogram('rowmill_job_wait_seconds', 'For how long jobs had been due when they started', 'wait');
  }

  started(job: Readonly<JobRow>, waited_ms: number): void {
    this.#kinds.of(job).wait.observe(waited_ms / 1_000);
  }

  ended(job: Readonly<JobRow>, { outcome }: Ended, duration_ms: number): void {
    const { outcomes, duration } = this.#kinds.of(job);
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    duration.observe(duration_ms / 1_000);
  }
}
