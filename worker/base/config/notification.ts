import { z } from 'zod';
import { group } from './group.ts';
import { list, text } from './values.ts';

/** `22:00-07:00 Europe/Berlin`: from when to when, and by which clock. */
export type QuietHours = { from: string; to: string; timeZone: string };

const time = /^([01]\d|2[0-3]):[0-5]\d$/;

/** What holds for the notifications of all channels. */
export const notification = group({
  settings: {
    HASH_KEY: list
      .refine((keys) => keys.every((key) => key.length >= 16), 'must be keys of 16 characters or more')
      .optional()
      .meta({ secret: true }),
    AMBIGUOUS_SEND: z.enum(['fail', 'resend']).default('fail'),
    QUIET_HOURS: text
      .transform((value, context): QuietHours => {
        const [, from, to, timeZone = 'UTC'] = /^(\S+?)-(\S+?)(?:\s+(\S+))?$/.exec(value) ?? [];
        if (from && to && from !== to && time.test(from) && time.test(to) && isTimeZone(timeZone))
          return { from, to, timeZone };
        context.addIssue('must be two times and a time zone, such as 22:00-07:00 Europe/Berlin');
        return z.NEVER;
      })
      .optional(),
    DEFAULT_LOCALE: text
      .regex(/^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$/, 'must be a language tag, such as en or pt-BR')
      .default('en'),
  },
  read: (env) => ({
    notification: {
      /** The first makes new hashes. The others only find those that they made. */
      hashKeys: env.HASH_KEY ?? [],
      /** Whether a message is sent again if nobody knows whether it went out. */
      ambiguousSend: env.AMBIGUOUS_SEND,
      quietHours: env.QUIET_HOURS,
      locale: env.DEFAULT_LOCALE,
    },
  }),
});

function isTimeZone(name: string): boolean {
  try {
    return Boolean(new Intl.DateTimeFormat('en', { timeZone: name }));
  } catch {
    return false;
  }
}
