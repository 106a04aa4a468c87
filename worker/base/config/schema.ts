import { z } from 'zod';
import { longestSchema, readAddress } from '../address.ts';
import { messageOf } from '../errors.ts';
import { fewestConnections } from './connections.ts';

/** The schema of each environment variable. */

const text = z.string().trim();
const integer = (min: number, max: number) =>
  z.coerce
    .number({ error: 'must be a whole number' })
    .int('must be a whole number')
    .min(min, `must be ${min} or more`)
    .max(max, `must be ${max} or less`);
const url = text
  .url({ protocol: /^https?$/, error: 'must be an http(s) URL' })
  .transform((value) => value.replace(/\/+$/, ''));
/** A host alone, with or without http(s)://. With a path, the SDK would sign another path than it requests. */
const endpoint = text.refine(
  (value) => {
    const server = URL.parse(/^https?:\/\//.test(value) ? value : `https://${value}`);
    return server !== null && /^\/*$/.test(server.pathname) && !server.search && !server.hash && !server.username;
  },
  {
    error:
      'must be a host, with its port if need be, and nothing behind it: such as https://s3.us-west-004.backblazeb2.com',
  },
);
const list = text.transform((value) =>
  value
    .split(',')
    .map((item) => item.trim())
    .filter(Boolean),
);
/** Bits per second: 128k, 2M, 128000. A number below `min` probably lacks its k. */
const bitrate = (min: number, max: number) =>
  text
    .regex(/^\d+(\.\d+)?[kKmM]?$/, 'must be a bit rate, such as 128k or 2M')
    .transform((value) =>
      Math.round(Number.parseFloat(value) * (/k$/i.test(value) ? 1e3 : /m$/i.test(value) ? 1e6 : 1)),
    )
    .refine((bits) => bits >= min, `must be ${min / 1e3}k or more; 128 is 128 bits a second, and 128k is 128,000`)
    .refine((bits) => bits <= max, `must be ${max / 1e3}k or less`);
const fraction = z.coerce
  .number({ error: 'must be a number' })
  .min(0.01, 'must be 0.01 or more')
  .max(1, 'must be 1 or less');
const sizes = list.pipe(
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
const address = text.superRefine((value, context) => {
  try {
    readAddress(value);
  } catch (error) {
    context.addIssue({ code: 'custom', message: messageOf(error) });
  }
});
const flag = z.enum(['true', 'false', '1', '0']).transform((value) => value === 'true' || value === '1');

export const schema = z.object({
  NODE_ENV: z.enum(['development', 'test', 'production']).default('development'),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  DATABASE_URL: address.optional(),
  DATABASE_CONNECTIONS: integer(fewestConnections, 10_000).default(16),
  ROWMILL_SCHEMA: text
    .regex(/^(?!pg_)[a-z_][a-z0-9_]*$/, 'must be a name of small letters, digits and _, and not begin with pg_')
    .max(longestSchema, `must have ${longestSchema} characters or less`)
    .optional(),
  DATA_DIR: text.default('.data'),
  TEMP_DIR: text.optional(),

  JOBS_DIR: text.optional(),
  MIGRATIONS_DIR: text.optional(),

  QUEUES: list.refine((names) => names.length > 0, 'names no queue').optional(),
  CONCURRENCY: integer(1, 1000).optional(),
  WORKER_CONCURRENCY: integer(1, 1000).optional(),
  WORKER_POLL_INTERVAL: integer(100, 600_000).default(2000),
  MAX_RETRIES: integer(0, 1000).optional(),
  BACKOFF_DELAY: integer(0, 86_400_000).optional(),
  SHUTDOWN_TIMEOUT: integer(0, 3_600_000).default(25_000),
  HEARTBEAT_INTERVAL: integer(100, 60_000).default(5_000),
  WORKER_DEAD_AFTER: integer(1_000, 600_000).default(30_000),
  SWEEP_INTERVAL: integer(100, 60_000).default(1_000),
  INCIDENT_CHECK_INTERVAL: integer(100, 600_000).default(10_000),

  PORT: integer(0, 65_535).optional(),
  HEALTH_CHECK_PORT: integer(0, 65_535).optional(),
  HOST: text.default('127.0.0.1'),

  RAID_PUB_ENDPOINT: url.optional(),
  RAID_PUBLISHER_SECRET: text.optional(),
  RAID_TIMEOUT: integer(100, 3_600_000).default(60_000),
  RAID_MAX_MB: integer(1, 100_000).default(100),

  STORAGE_PROVIDER: z.enum(['local', 's3', 'b2', 'minio']).optional(),
  B2_KEY_ID: text.optional(),
  B2_APP_KEY: text.optional(),
  B2_BUCKET: text.optional(),
  B2_ENDPOINT: endpoint.optional(),
  B2_REGION: text.optional(),
  MINIO_ENDPOINT: endpoint.optional(),
  MINIO_ACCESS_KEY: text.optional(),
  MINIO_SECRET_KEY: text.optional(),
  MINIO_BUCKET: text.optional(),
  STORAGE_BUCKET: text.optional(),
  STORAGE_ENDPOINT: endpoint.optional(),
  STORAGE_PATH_STYLE: flag.optional(),
  AWS_REGION: text.optional(),
  AWS_ACCESS_KEY_ID: text.optional(),
  AWS_SECRET_ACCESS_KEY: text.optional(),
  CDN_BASE_URL: url.optional(),
  STORAGE_PRIVATE: flag.optional(),

  MEDIA_MEMORY_MB: integer(128, 1_000_000).optional(),
  MEDIA_MAX_MB: integer(1, 1_000_000).default(2200),
  MEDIA_TRUNCATED: z.enum(['refuse', 'deliver']).default('refuse'),
  FFMPEG_PATH: text.optional(),
  FFPROBE_PATH: text.optional(),
  FFMPEG_PRESET: z
    .enum(['ultrafast', 'superfast', 'veryfast', 'faster', 'fast', 'medium', 'slow', 'slower', 'veryslow'])
    .default('veryfast'),
  VIDEO_BITRATE: bitrate(50_000, 500_000_000).optional(),
  AUDIO_BITRATE: bitrate(8_000, 320_000).default(128_000),
  VIDEO_MAX_SECONDS: integer(1, 1_000_000).default(14_400),
  WATERMARK_ENABLED: flag.optional(),
  WATERMARK_PATH: text.optional(),
  WATERMARK_POSITION: z.enum(['topleft', 'topright', 'bottomleft', 'bottomright', 'center']).default('bottomright'),
  WATERMARK_OPACITY: fraction.default(0.8),
  WATERMARK_SCALE: fraction.default(0.15),
  THUMBNAIL_SIZES: sizes.default([
    { width: 150, height: 150 },
    { width: 320, height: 320 },
    { width: 640, height: 640 },
  ]),
  IMAGORVIDEO_URL: url.optional(),

  PREKEY_MODE: z.enum(['generate', 'request']).default('generate'),
  ORPHANED_MEDIA_DELETE: flag.optional(),
});

export type Env = z.infer<typeof schema>;

/** The names of all settings. `.env.example` explains each. */
export const settings: string[] = Object.keys(schema.shape);
