import { z } from 'zod';
import { readAddress } from '../address.ts';
import { messageOf } from '../errors.ts';

// The values that settings may have.

export const text = z.string().trim();
/** A key, a password or a token: `Config.secrets` has it, so that it gets into no log line and no text column. */
export const secret = text.optional().meta({ secret: true });
export const integer = (min: number, max: number) =>
  z.coerce
    .number({ error: 'must be a whole number' })
    .int('must be a whole number')
    .min(min, `must be ${min} or more`)
    .max(max, `must be ${max} or less`);
export const url = text
  .url({ protocol: /^https?$/, error: 'must be an http(s) URL' })
  .transform((value) => value.replace(/\/+$/, ''));
/** A host alone, with or without http(s)://. With a path, the SDK would sign another path than it requests. */
export const endpoint = text.refine(
  (value) => {
    const server = URL.parse(/^https?:\/\//.test(value) ? value : `https://${value}`);
    return server !== null && /^\/*$/.test(server.pathname) && !server.search && !server.hash && !server.username;
  },
  {
    error:
      'must be a host, with its port if need be, and nothing behind it: such as https://s3.us-west-004.backblazeb2.com',
  },
);
export const list = text.transform((value) =>
  value
    .split(',')
    .map((item) => item.trim())
    .filter(Boolean),
);
/** Bits per second: 128k, 2M, 128000. A number below `min` probably lacks its k. */
export const bitrate = (min: number, max: number) =>
  text
    .regex(/^\d+(\.\d+)?[kKmM]?$/, 'must be a bit rate, such as 128k or 2M')
    .transform((value) =>
      Math.round(Number.parseFloat(value) * (/k$/i.test(value) ? 1e3 : /m$/i.test(value) ? 1e6 : 1)),
    )
    .refine((bits) => bits >= min, `must be ${min / 1e3}k or more; 128 is 128 bits a second, and 128k is 128,000`)
    .refine((bits) => bits <= max, `must be ${max / 1e3}k or less`);
export const fraction = z.coerce
  .number({ error: 'must be a number' })
  .min(0.01, 'must be 0.01 or more')
  .max(1, 'must be 1 or less');
export const sizes = list.pipe(
  z
    .array(z.string().regex(/^[1-9]\d{0,3}x[1-9]\d{0,3}$/, 'must be sizes such as 150x150,640x360'))
    .min(1, 'names no size')
    .transform((all) =>
      all.map((size) => {
        const [width, height] = size.split('x').map(Number) as [number, number];
        return { width, height };
      }),
    ),
);
export const databaseAddress = text.superRefine((value, context) => {
  try {
    readAddress(value);
  } catch (error) {
    context.addIssue({ code: 'custom', message: messageOf(error) });
  }
});
export const flag = z.enum(['true', 'false', '1', '0']).transform((value) => value === 'true' || value === '1');
