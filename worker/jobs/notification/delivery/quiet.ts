import type { QuietHours } from '../../../base/config/notification.ts';

/** Milliseconds until the quiet hours are over, or 0 if it is none of them. */
export function quietFor({ from, to, timeZone }: QuietHours, now = new Date()): number {
  const clock = new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  const sinceFrom = modulo(minutesOf(clock.format(now)) - minutesOf(from));
  const lasts = modulo(minutesOf(to) - minutesOf(from));
  if (sinceFrom >= lasts) return 0;
  const wait = (lasts - sinceFrom) * 60_000 - (now.getTime() % 60_000);
  // Where the clock is changed meanwhile, it says something else than `to` by then.
  const late = modulo(minutesOf(clock.format(now.getTime() + wait)) - minutesOf(to));
  const changed = wait - (late > 720 ? late - 1_440 : late) * 60_000;
  return changed > 0 ? changed : wait;
}

const minutesOf = (time: string) => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
const modulo = (minutes: number) => (minutes + 1_440) % 1_440;
