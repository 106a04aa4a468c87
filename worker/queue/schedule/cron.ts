import { createTask, parse } from 'node-cron';
import { messageOf, UsageError } from '../../base/errors.ts';

/** The ticks of a cron expression, in whole seconds. They depend only on the expression and the time zone. */
export type Ticks = {
  /** The first tick after a moment. @throws UsageError if there is none */
  after(moment: Date): Date;
  /** The last tick up to `now`. @param tick one that is not later */
  latest(tick: Date, now: Date): Date;
};

const secondMs = 1_000;
const minuteMs = 60_000;
const hourMs = 3_600_000;
const dayMs = 86_400_000;
/** No time zone moves its clocks by more. */
const shiftMs = 3 * hourMs;
/** There may be 40 years between two 29ths of February on a Monday. */
const farMs = 50 * 366 * dayMs;
/** As long as a row of schedules may have it. */
const longest = 200;

/**
 * Reads five fields, six with seconds, or such as `@daily`. A time that does not exist when clocks go forward is
 * skipped. Of an hour that comes twice when they go back, the first counts; both count if the expression names no
 * hours.
 *
 * node-cron parses the expression. It can also compute the next tick, but only from this machine's clock, and within
 * the hour that comes twice not always the first.
 * @throws UsageError for an invalid expression or time zone
 */
export function readCron(cron: string, timeZone: string): Ticks {
  const fields = named(`cron ${cron.slice(0, longest)}`, () => parse(checked(cron)));
  const { hour, minute, second } = fields;
  const isDay = dayMatcher(cron, fields);
  const wallOf = named(`time zone ${timeZone}`, () => wallClock(timeZone));

  /** How long it takes until there may be a tick; 0 for a tick. `wall` is the local time, as if it were UTC. */
  function wait(at: number): number {
    const wall = wallOf(at);
    if (!isDay(wall)) return Math.max(daysTo(wall) * dayMs - (wall % dayMs) - shiftMs, hourMs - (wall % hourMs));
    if (!hour.includes(Math.floor(wall / hourMs) % 24)) return hourMs - (wall % hourMs);
    if (!minute.includes(Math.floor(wall / minuteMs) % 60)) return minuteMs - (wall % minuteMs);
    if (!second.includes(Math.floor(wall / secondMs) % 60)) return secondMs;
    return hour.length < 24 && showedBefore(wall, at) ? minuteMs - (wall % minuteMs) : 0;
  }

  function daysTo(wall: number): number {
    let days = 1;
    while (!isDay(wall + days * dayMs) && days * dayMs < farMs) days++;
    return days;
  }

  /** Whether the clocks have been put back since they showed this time before. */
  function showedBefore(wall: number, at: number): boolean {
    const yesterday = at - dayMs;
    const before = wall - (wallOf(yesterday) - yesterday);
    return before < at && wallOf(before) === wall;
  }

  function after(moment: Date): Date {
    const first = Math.floor(moment.getTime() / secondMs + 1) * secondMs;
    for (let at = first; at - first < farMs;) {
      const ms = wait(at);
      if (ms === 0) return new Date(at);
      at += ms;
    }
    throw new UsageError(`cron ${cron}: it never comes`);
  }

  return {
    after,
    latest(tick, now) {
      let [known, above] = [tick.getTime(), now.getTime()];
      while (above - known >= secondMs) {
        const middle = Math.floor((known + above) / 2);
        const found = after(new Date(middle)).getTime();
        if (found <= now.getTime()) known = found;
        else above = middle;
      }
      return new Date(known);
    },
  };
}

/**
 * node-cron writes out the numbers of a range before it checks them: of `1-9999999` for half a minute.
 * @throws if no expression has such a number, or is as long
 */
function checked(cron: string): string {
  if (cron.length > longest) throw new Error(`it is longer than ${longest} characters`);
  if (/\d{3}/.test(cron)) throw new Error('it has a number of more than two digits');
  return cron;
}

type Fields = ReturnType<typeof parse>;

/**
 * Whether an expression may tick on a day. node-cron says it, also for `L`, `W` and `#`; it takes 20 us, so it is asked
 * only about the days that the plain numbers leave over.
 */
function dayMatcher(cron: string, fields: Fields): (wall: number) => boolean {
  const { dayOfMonth, month, dayOfWeek, hour, minute, second } = fields;
  const time = hour[0]! * hourMs + minute[0]! * minuteMs + second[0]! * secondMs;
  const task = createTask(cron, () => {}, { timezone: 'UTC' });
  void task.destroy();
  return (wall) => {
    const day = new Date(wall - (wall % dayMs) + time);
    return (
      mayBe(month, day.getUTCMonth() + 1) &&
      mayBe(dayOfMonth, day.getUTCDate()) &&
      mayBe(dayOfWeek, day.getUTCDay()) &&
      task.match(day)
    );
  };
}

const mayBe = (field: readonly (number | string)[], value: number) =>
  field.includes(value) || field.some((each) => typeof each === 'string');

/** The local time in a zone, as if it were UTC. @throws for an unknown zone */
function wallClock(timeZone: string): (at: number) => number {
  const format = new Intl.DateTimeFormat('en', { timeZone, timeZoneName: 'longOffset' });
  return (at) => {
    const offset = /GMT([+-])(\d\d):(\d\d)/.exec(format.format(at));
    const ms = offset ? Number(offset[2]) * hourMs + Number(offset[3]) * minuteMs : 0;
    return offset?.[1] === '-' ? at - ms : at + ms;
  };
}

function named<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new UsageError(`${what}: ${messageOf(error)}`, { cause: error });
  }
}
