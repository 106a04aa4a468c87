import { isTransient, readTime, type Db } from '../../base/db/db.ts';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { readCron } from './cron.ts';
import { paced } from '../../base/paced.ts';

type Schedule = {
  name: string;
  cron: string;
  time_zone: string;
  /** Only later ticks count. */
  began_at: Date;
  next_tick: Date | null;
  /** The next tick, in Postgres' own precision. */
  planned: string | null;
  /** Why it could not tick the last time. */
  error: string | null;
  /** By the clock of the database. */
  now: Date;
};
type ScheduleRow = Pick<Schedule, 'name' | 'cron' | 'time_zone' | 'planned' | 'error'> & {
  began_at: string;
  now: string;
};
type Tick = Pick<Schedule, 'name' | 'cron' | 'time_zone' | 'planned'> & { tick: Date | null; next: Date };

const sql = loadStatements(import.meta.dirname, 'scheduler.sql', ['schedules_at_hand', 'tick', 'refuse']);
const restMs = 20;
/** A tick that is processed within this time was not missed. Of missed ticks, only the latest is made up. */
const missedAfterMs = 3_000;

/**
 * Inserts the jobs of schedules when they are due, by the database's clock. The process's own clock only decides when
 * to ask. Asking too early or too late, or in several processes at once, does no harm.
 */
export function createScheduler(db: Db, reads: Queryable, log: Log, signal: AbortSignal) {
  let timer: NodeJS.Timeout | undefined;

  /** Must be called each second, and when a schedule was changed. */
  const refresh = paced(restMs, async () => {
    const asked = performance.now();
    const schedules = (await query<ScheduleRow>(reads, sql.schedules_at_hand)).map(readRow);
    const due = schedules.filter((schedule) => waitOf(schedule) <= 0);
    const ticks: Tick[] = [];
    for (const schedule of due) {
      try {
        ticks.push(decide(schedule));
      } catch (error) {
        await refuse(schedule, error);
      }
    }
    if (ticks.length > 0) await tick(ticks);
    // A schedule that was due has another next tick now, and may be due again. One that cannot tick is tried again each
    // second.
    const waits = schedules.filter(({ error }) => error === null).map((schedule) => Math.max(waitOf(schedule), restMs));
    refreshAt(asked + Math.min(...waits));
  });

  function refreshAt(at: number): void {
    clearTimeout(timer);
    if (at === Infinity || signal.aborted) return;
    timer = setTimeout(
      () => void refresh().catch(() => {}),
      Math.max(Math.ceil(at - performance.now()), 0) + 1,
    ).unref();
  }

  async function tick(ticks: Tick[]): Promise<void> {
    try {
      const ticked = await query<{ name: string; tick: Date | null; job_id: number | null }>(db, sql.tick, {
        ticks: JSON.stringify(ticks),
      });
      for (const { name, tick: at, job_id } of ticked)
        if (at) log.debug({ schedule: name, tick: at, job_id }, job_id ? 'a schedule ticked' : 'a tick was skipped');
    } catch (error) {
      if (isTransient(error)) throw error;
      if (ticks.length === 1) return refuse(ticks[0]!, error);
      // A job that cannot be inserted must not keep the others from being inserted.
      for (const one of ticks) await tick([one]);
    }
  }

  async function refuse({ name, cron, time_zone }: Omit<Tick, 'tick' | 'next'>, error: unknown): Promise<void> {
    const refused = await query(db, sql.refuse, { name, cron, time_zone, error: messageOf(error).slice(0, 2_000) });
    if (refused.length > 0) log.warn({ schedule: name, err: error }, 'a schedule cannot tick');
  }

  signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  return { refresh };
}

const readRow = (row: ScheduleRow): Schedule => ({
  ...row,
  began_at: readTime(row.began_at),
  next_tick: row.planned === null ? null : readTime(row.planned),
  now: readTime(row.now),
});

/** In milliseconds. */
const waitOf = ({ next_tick, now }: Schedule) => (next_tick ? next_tick.getTime() - now.getTime() : 0);

/**
 * Which tick to insert now, if any, and which tick is next. @throws UsageError for an invalid cron expression or time
 * zone
 */
function decide({ name, cron, time_zone, planned, next_tick, began_at, now }: Schedule): Tick {
  const ticks = readCron(cron, time_zone);
  if (!next_tick) return { name, cron, time_zone, planned, tick: null, next: ticks.after(began_at) };
  const missed = now.getTime() - next_tick.getTime() > missedAfterMs;
  const tick = missed ? ticks.latest(next_tick, now) : next_tick;
  return { name, cron, time_zone, planned, tick, next: ticks.after(tick) };
}
