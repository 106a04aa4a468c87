import type { QuietHours } from '../../../base/config/notification.ts';

/**
 * Milliseconds until the quiet hours are over, or 0 if it is none of them. Where the clock is changed meanwhile, the
 * wait is an hour too short or too long: a job that comes back too early asks again.
 */
export function quietFor({ from, to, timeZone }: QuietHours, now = new Date()): number {
  const clock = new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  const minute = minutesOf(clock.format(now));
  const sinceFrom = modulo(minute - minutesOf(from));
  const lasts = modulo(minutesOf(to) - minutesOf(from));
  if (sinceFrom >= lasts) return 0;
  return (lasts - sinceFrom) * 60_000 - (now.getTime() % 60_000);
}

const minutesOf = (time: string) => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
const modulo = (minutes: number) => (minutes + 1_440) % 1_440;
