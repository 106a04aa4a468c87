import { Histogram, type MetricObjectWithValues, type MetricValueWithName } from 'prom-client';

/** Counts of how long something took, by upper bound. */
export class Bucketed {
  readonly #bounds: readonly number[];
  /** The last one is for what is above all bounds. */
  readonly counts: number[];
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  observe(value: number): void {
    let at = 0;
    while (at < this.#bounds.length && value > this.#bounds[at]!) at++;
    this.counts[at]! += 1;
    this.sum += value;
  }
}

export type Labelled = { labels: Record<string, string>; of: Bucketed };

/**
 * A histogram of prom-client that reads what was counted elsewhere when it is scraped: its own `observe` looks up the
 * labels each time, which takes longer than all the rest that is done to observe an attempt.
 */
export class ReadHistogram extends Histogram {
  readonly #name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  readonly #read: () => Iterable<Labelled>;

  constructor(
    {
      name,
      help,
      bounds,
      ...options
    }: { name: string; help: string; bounds: readonly number[] } & Pick<
      ConstructorParameters<typeof Histogram>[0],
      'registers' | 'labelNames'
    >,
    read: () => Iterable<Labelled>,
  ) {
    super({ name, help, buckets: [...bounds], ...options });
    this.#name = name;
    this.#help = help;
    this.#bounds = bounds;
    this.#read = read;
  }

  override async get(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    const values: MetricValueWithName<string>[] = [];
    const bucket = `${this.#name}_bucket`;
    for (const { labels, of } of this.#read()) {
      let counted = 0;
      for (const [at, bound] of this.#bounds.entries()) {
        counted += of.counts[at]!;
        values.push({ metricName: bucket, labels: { ...labels, le: bound }, value: counted });
      }
      counted += of.counts.at(-1)!;
      values.push({ metricName: bucket, labels: { ...labels, le: '+Inf' }, value: counted });
      values.push({ metricName: `${this.#name}_sum`, labels, value: of.sum });
      values.push({ metricName: `${this.#name}_count`, labels, value: counted });
    }
    return { name: this.#name, help: this.#help, type: 'histogram' as never, aggregator: 'sum', values, collect() {} };
  }

  /** What prom-client calls for the text, in place of `get`. */
  getForPromString(): ReturnType<typeof this.get> {
    return this.get();
  }
}
