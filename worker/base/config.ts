import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { z } from 'zod';
import { UsageError } from './errors.ts';

/**
 * The environment, read once. Every fault is reported together, by name; a group such as B2_* is given whole or not at all.
 * This is the one place that reads `process.env`.
 */

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
const list = text.transform((value) =>
  value
    .split(',')
    .map((item) => item.trim())
    .filter(Boolean),
);
const flag = z.enum(['true', 'false', '1', '0']).transform((value) => value === 'true' || value === '1');

const schema = z.object({
  NODE_ENV: z.enum(['development', 'test', 'production']).default('development'),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  DATABASE_URL: text
    .regex(/^postgres(ql)?:\/\//, 'must start with postgres:// or postgresql://')
    .refine((value) => URL.canParse(value), 'is no valid address: percent-encode special characters of the password')
    .optional(),
  DATA_DIR: text.default('.data'),
  TEMP_DIR: text.optional(),

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
  B2_ENDPOINT: text.optional(),
  B2_REGION: text.optional(),
  MINIO_ENDPOINT: text.optional(),
  MINIO_ACCESS_KEY: text.optional(),
  MINIO_SECRET_KEY: text.optional(),
  MINIO_BUCKET: text.optional(),
  STORAGE_BUCKET: text.optional(),
  STORAGE_ENDPOINT: text.optional(),
  STORAGE_PATH_STYLE: flag.optional(),
  AWS_REGION: text.optional(),
  AWS_ACCESS_KEY_ID: text.optional(),
  AWS_SECRET_ACCESS_KEY: text.optional(),
  CDN_BASE_URL: url.optional(),

  MEDIA_MEMORY_MB: integer(128, 1_000_000).default(280),
});

type Env = z.infer<typeof schema>;

/** The names of all settings; `.env.example` explains each. */
export const settings: string[] = Object.keys(schema.shape);

export type S3Config = {
  provider: 's3';
  bucket: string;
  /** Absent on AWS itself. */
  endpoint?: string;
  region: string;
  /** Absent: the SDK's own chain (instance role, shared files). */
  credentials?: { accessKeyId: string; secretAccessKey: string };
  pathStyle: boolean;
};
export type LocalConfig = { provider: 'local'; dir: string };
export type StorageConfig = (S3Config | LocalConfig) & { publicBaseUrl?: string };

export type Config = ReturnType<typeof shape>;

/** @throws UsageError that names every fault, one a line */
export function loadConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value?.trim()));
  const parsed = schema.safeParse(given);
  const faults = parsed.success ? [] : parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  faults.push(...incompleteGroups(given), ...ambiguousStorage(given));
  if (!parsed.success || faults.length > 0)
    throw new UsageError(`The environment has faults:\n  ${faults.join('\n  ')}`);
  return shape(parsed.data);
}

const groups = {
  RAID: ['RAID_PUB_ENDPOINT', 'RAID_PUBLISHER_SECRET'],
  B2: ['B2_KEY_ID', 'B2_APP_KEY', 'B2_BUCKET', 'B2_ENDPOINT'],
  MinIO: ['MINIO_ENDPOINT', 'MINIO_ACCESS_KEY', 'MINIO_SECRET_KEY', 'MINIO_BUCKET'],
  AWS: ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'],
};

function incompleteGroups(given: Record<string, unknown>): string[] {
  return Object.entries(groups).flatMap(([group, names]) => {
    const missing = names.filter((name) => !(name in given));
    if (missing.length === 0 || missing.length === names.length) return [];
    return missing.map((name) => `${name}: is missing, while other ${group} settings are set`);
  });
}

function ambiguousStorage(given: Record<string, unknown>): string[] {
  const bucketOf = { b2: 'B2_BUCKET', minio: 'MINIO_BUCKET', s3: 'STORAGE_BUCKET' };
  const set = Object.values(bucketOf).filter((name) => name in given);
  if (!('STORAGE_PROVIDER' in given)) {
    return set.length > 1 ? [`STORAGE_PROVIDER: must say which of ${set.join(', ')} to use`] : [];
  }
  return Object.entries(bucketOf)
    .filter(([provider, bucket]) => given['STORAGE_PROVIDER'] === provider && !(bucket in given))
    .map(([provider, bucket]) => `${bucket}: is missing, while STORAGE_PROVIDER is ${provider}`);
}

function shape(env: Env) {
  const dataDir = resolve(env.DATA_DIR);
  const port = env.PORT ?? env.HEALTH_CHECK_PORT;
  return {
    production: env.NODE_ENV === 'production',
    logLevel: env.LOG_LEVEL,
    databaseUrl: env.DATABASE_URL,
    dataDir,
    tempDir: env.TEMP_DIR ?? tmpdir(),

    /** Undefined: all queues. */
    queues: env.QUEUES,
    publishConcurrency: env.CONCURRENCY,
    otherConcurrency: env.WORKER_CONCURRENCY,
    pollIntervalMs: env.WORKER_POLL_INTERVAL,
    maxRetries: env.MAX_RETRIES,
    backoffMs: env.BACKOFF_DELAY,
    shutdownTimeoutMs: env.SHUTDOWN_TIMEOUT,
    heartbeatMs: env.HEARTBEAT_INTERVAL,
    deadAfterMs: env.WORKER_DEAD_AFTER,
    sweepMs: env.SWEEP_INTERVAL,

    http: { host: env.HOST, port: port ?? 3000, chosen: port !== undefined },
    raid:
      env.RAID_PUB_ENDPOINT && env.RAID_PUBLISHER_SECRET
        ? {
            endpoint: env.RAID_PUB_ENDPOINT,
            secret: env.RAID_PUBLISHER_SECRET,
            timeoutMs: env.RAID_TIMEOUT,
            maxBytes: env.RAID_MAX_MB * 1_000_000,
          }
        : undefined,
    storage: storageOf(env, dataDir),
    mediaMemoryBytes: env.MEDIA_MEMORY_MB * 1_000_000,

    /** Values that must never reach a log line or a text column. */
    secrets: secretsOf(env),
  };
}

function storageOf(env: Env, dataDir: string): StorageConfig {
  const publicBaseUrl = env.CDN_BASE_URL ? { publicBaseUrl: env.CDN_BASE_URL } : {};
  const provider =
    env.STORAGE_PROVIDER ?? (env.B2_BUCKET ? 'b2' : env.MINIO_BUCKET ? 'minio' : env.STORAGE_BUCKET ? 's3' : 'local');
  switch (provider) {
    case 'local':
      return { provider, dir: resolve(dataDir, 'storage'), ...publicBaseUrl };
    case 'b2':
      return {
        provider: 's3',
        bucket: env.B2_BUCKET!,
        endpoint: withProtocol(env.B2_ENDPOINT!),
        region: env.B2_REGION ?? /s3\.([a-z0-9-]+)\.backblazeb2/.exec(env.B2_ENDPOINT!)?.[1] ?? 'us-east-1',
        credentials: { accessKeyId: env.B2_KEY_ID!, secretAccessKey: env.B2_APP_KEY! },
        pathStyle: env.STORAGE_PATH_STYLE ?? true,
        ...publicBaseUrl,
      };
    case 'minio':
      return {
        provider: 's3',
        bucket: env.MINIO_BUCKET!,
        endpoint: withProtocol(env.MINIO_ENDPOINT!),
        region: env.AWS_REGION ?? 'us-east-1',
        credentials: { accessKeyId: env.MINIO_ACCESS_KEY!, secretAccessKey: env.MINIO_SECRET_KEY! },
        pathStyle: env.STORAGE_PATH_STYLE ?? true,
        ...publicBaseUrl,
      };
    case 's3':
      return {
        provider: 's3',
        bucket: env.STORAGE_BUCKET!,
        ...(env.STORAGE_ENDPOINT ? { endpoint: withProtocol(env.STORAGE_ENDPOINT) } : {}),
        region: env.AWS_REGION ?? 'us-east-1',
        ...(env.AWS_ACCESS_KEY_ID && env.AWS_SECRET_ACCESS_KEY
          ? { credentials: { accessKeyId: env.AWS_ACCESS_KEY_ID, secretAccessKey: env.AWS_SECRET_ACCESS_KEY } }
          : {}),
        pathStyle: env.STORAGE_PATH_STYLE ?? Boolean(env.STORAGE_ENDPOINT),
        ...publicBaseUrl,
      };
  }
}

const withProtocol = (endpoint: string) =>
  (/^https?:\/\//.test(endpoint) ? endpoint : `https://${endpoint}`).replace(/\/+$/, '');

function secretsOf(env: Env): string[] {
  const password = env.DATABASE_URL && URL.canParse(env.DATABASE_URL) ? new URL(env.DATABASE_URL).password : undefined;
  return [
    env.RAID_PUBLISHER_SECRET,
    env.B2_APP_KEY,
    env.MINIO_SECRET_KEY,
    env.AWS_SECRET_ACCESS_KEY,
    password,
    password && decoded(password),
  ].filter((secret): secret is string => Boolean(secret && secret.length >= 4));
}

function decoded(password: string): string {
  try {
    return decodeURIComponent(password);
  } catch {
    return password;
  }
}
