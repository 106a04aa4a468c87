import { codeOf, messageOf, UsageError } from '../../base/errors.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { checkFits } from '../client/add.ts';
import { readCron } from './cron.ts';
import { checkQueue, type Status } from '../client/operate.ts';
import type { Registry } from '../registry.ts';

/** What people do with schedules from outside. scheduler.ts makes them tick. */

const sql = loadStatements(import.meta.dirname, 'schedules.sql', [
  'list_schedules',
  'schedule_names',
  'read_schedule',
  'schedule_history',
  'set_schedule',
  'enable_schedule',
  'run_schedule',
  'delete_schedule',
]);

/** What a tick does while the last job has not ended. */
export const overlaps = ['skip', 'queue'] as const;

export type Schedule = {
  name: string;
  cron: string;
  time_zone: string;
  queue: string;
  kind: string;
  payload: unknown;
  priority: number;
  /** Null: the queue's. */
  max_retries: number | null;
  overlap: (typeof overlaps)[number];
  enabled: boolean;
};
export type ScheduleStatus = Schedule & {
  last_tick: Date | null;
  next_tick: Date | null;
  skipped: number;
  skipped_tick: Date | null;
  /** Why it does not tick, though it is enabled. */
  error: string | null;
  last_job_id: number | null;
  last_status: Status | null;
  last_result: unknown;
  last_error_code: string | null;
  last_error: string | null;
  last_completed_at: Date | null;
};

export async function listSchedules(db: Queryable): Promise<ScheduleStatus[]> {
  return query<ScheduleStatus>(db, sql.list_schedules);
}

/** A tick: `job_id` is null if it was skipped, `tick` is null if the schedule was run by hand. */
export type PastTick = {
  tick: Date | null;
  at: Date;
  job_id: number | null;
  /** Of the job; null if there is none, or it has been deleted. */
  status: Status | null;
  error_code: string | null;
  started_at: Date | null;
  completed_at: Date | null;
};

/** The newest first, up to a hundred. */
export async function scheduleHistory(db: Queryable, name: string, limit = 20): Promise<PastTick[]> {
  return query<PastTick>(db, sql.schedule_history, { name, limit });
}

/** The next ticks of a cron expression. @throws UsageError if it is invalid, or never comes */
export function nextTicks(cron: string, timeZone: string, many: number, from = new Date()): Date[] {
  const { after } = readCron(cron, timeZone);
  const ticks = [after(from)];
  while (ticks.length < many) ticks.push(after(ticks.at(-1)!));
  return ticks;
}

const defaults = {
  time_zone: 'UTC',
  payload: {},
  priority: 0,
  max_retries: null,
  overlap: 'queue',
  enabled: true,
} as const;

/**
 * Creates a schedule, or changes the given fields of an existing one.
 * @param registry without one, kind and payload are not checked
 * @returns the schedule, and its next tick by this machine's clock
 * @throws UsageError for what could never run: an invalid cron expression, time zone, queue or kind; a payload that
 *   does not fit the kind
 */
export async function setSchedule(
  db: Queryable,
  registry: Registry | undefined,
  { name, ...changes }: Partial<Schedule> & { name: string },
): Promise<Schedule & { next_tick: Date }> {
  const [before] = await query<Schedule>(db, sql.read_schedule, { name });
  const { cron, queue, kind, ...rest } = { ...defaults, ...before, ...changes };
  if (cron === undefined || queue === undefined || kind === undefined)
    throw new UsageError(`There is no schedule ${name} yet: a new one needs a cron expression and a kind`);
  const schedule: Schedule = { name, cron, queue, kind, ...rest };
  const next_tick = readCron(cron, schedule.time_zone).after(new Date());
  await checkQueue(db, queue);
  if (registry) checkFits(registry, schedule);
  await refused(() => query(db, sql.set_schedule, { ...schedule, payload: JSON.stringify(schedule.payload) }));
  return { ...schedule, next_tick };
}

/** Ticks of the time in which it was disabled are not made up. @throws UsageError for an unknown schedule */
export async function enableSchedule(db: Queryable, name: string, enabled: boolean): Promise<void> {
  const found = await query(db, sql.enable_schedule, { name, enabled });
  if (found.length === 0) throw await unknown(db, name);
}

/**
 * Inserts a job now, also if the schedule is disabled.
 * @returns its id; undefined if the last job has not ended and `overlap` is `skip`
 * @throws UsageError for an unknown schedule
 */
export async function runSchedule(db: Queryable, name: string): Promise<number | undefined> {
  try {
    const [row] = await query<{ job_id: number }>(db, sql.run_schedule, { name });
    return row!.job_id;
  } catch (error) {
    if (codeOf(error) === 'P0002') throw await unknown(db, name);
    if (codeOf(error) === '55006') return undefined;
    throw error;
  }
}

/** Its jobs stay. @throws UsageError for an unknown schedule */
export async function deleteSchedule(db: Queryable, name: string): Promise<void> {
  const found = await query(db, sql.delete_schedule, { name });
  if (found.length === 0) throw await unknown(db, name);
}

async function unknown(db: Queryable, name: string): Promise<UsageError> {
  const names = (await query<{ name: string }>(db, sql.schedule_names)).map((row) => row.name);
  return new UsageError(
    `There is no schedule ${name}: there ${names.length > 0 ? `are ${names.join(', ')}` : 'is none'}`,
  );
}

/** What Postgres refuses: a name with an @, an unknown time zone, JSON that it cannot store. */
async function refused<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (/^(22|23514)/.test(codeOf(error) ?? '')) throw new UsageError(messageOf(error), { cause: error });
    throw error;
  }
}
