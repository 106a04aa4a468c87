import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { quantile } from '../histogram.ts';

const sql = loadStatements(import.meta.dirname, 'throughput.sql', ['throughput']);

/** Columns of equal length, as charts take them: entry n is of the period that begins at `at[n]`. */
export type Throughput = {
  /** The length of a period. */
  step_s: number;
  /** When each period begins, in seconds since 1970. The last one is not over. */
  at: number[];
  queues: QueueThroughput[];
};

type QueueThroughput = {
  queue: string;
  /** Attempts that ended in the period: of jobs that were completed, that are dead letters, that wait for a retry. */
  completed: number[];
  failed: number[];
  retried: number[];
  /** How long these attempts ran; null: there were none. */
  duration: Spread;
  /** How long the jobs that started had been due. */
  wait: Spread;
};

/** Milliseconds. The quantiles are right to a fifth. */
type Spread = { mean: (number | null)[]; p50: (number | null)[]; p95: (number | null)[] };

type Row = {
  at_s: number;
  queue: string;
  completed: number;
  failed: number;
  retried: number;
  duration_ms: number;
  durations: number[];
  waited_ms: number;
  waits: number[];
};

const hourMs = 3_600_000;

/**
 * What the fleet has done since then, by the minute for up to three hours, and by the quarter of an hour for up to a
 * month. Only queues in which something started or ended. Read in milliseconds, however many jobs there were; workers
 * write every five seconds.
 */
export async function throughput(
  db: Queryable,
  { since, queue = null }: { since: Date; queue?: string | null },
): Promise<Throughput> {
  const minutes = Date.now() - since.getTime() <= 3 * hourMs ? 1 : 15;
  const step_s = minutes * 60;
  const rows = await query<Row & { now_s: number }>(db, sql.throughput, { minutes, since, queue });
  const first = Math.floor(since.getTime() / 1_000 / step_s) * step_s;
  const last = Math.max(Date.now() / 1_000, ...rows.map(({ at_s }) => at_s));
  const at = Array.from({ length: Math.floor((last - first) / step_s) + 1 }, (_, n) => first + n * step_s);
  const byQueue = Map.groupBy(rows, (row) => row.queue);
  const queues = [...byQueue].map(([name, some]) => columnsOf(name, new Map(some.map((row) => [row.at_s, row])), at));
  return { step_s, at, queues };
}

function columnsOf(queue: string, rows: Map<number, Row>, at: number[]): QueueThroughput {
  const counts = (name: 'completed' | 'failed' | 'retried') => at.map((when) => rows.get(when)?.[name] ?? 0);
  const spread = (sum: 'duration_ms' | 'waited_ms', histogram: 'durations' | 'waits'): Spread => {
    const read = (share: number) => at.map((when) => quantile(rows.get(when)?.[histogram] ?? [], share));
    const mean = at.map((when) => {
      const row = rows.get(when);
      const counted = row?.[histogram].reduce((total, each) => total + each, 0) ?? 0;
      return counted > 0 ? row![sum] / counted : null;
    });
    return { mean, p50: read(0.5), p95: read(0.95) };
  };
  return {
    queue,
    completed: counts('completed'),
    failed: counts('failed'),
    retried: counts('retried'),
    duration: spread('duration_ms', 'durations'),
    wait: spread('waited_ms', 'waits'),
  };
}
