import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { connectionsOf } from './connections.ts';
import { schema, settings, type Env } from './schema.ts';
import { ambiguousStorage, storageOf } from './storage.ts';
import { readAddress, withSchema } from '../address.ts';
import { UsageError } from '../errors.ts';
import { memoryHere } from '../machine.ts';
import { surroundings } from '../surroundings.ts';

export { settings };

/** The names of the settings that are set in the environment. */
export const settingsGiven = (): string[] => settings.filter((name) => surroundings().env[name]?.trim());

export type Config = ReturnType<typeof shape>;

/**
 * Reads the environment, once; nothing else reads it. All faults are reported together, by name. A group such as B2_*
 * must be set completely or not at all.
 * @throws UsageError that names every fault, one per line
 */
export function loadConfig(env: NodeJS.ProcessEnv = surroundings().env): Config {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value?.trim()));
  const parsed = schema.safeParse(given);
  const faults = parsed.success ? [] : parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  faults.push(...incompleteGroups(given), ...ambiguousStorage(given), ...markedNames(given));
  if (parsed.data?.WATERMARK_ENABLED && !parsed.data.WATERMARK_PATH)
    faults.push('WATERMARK_PATH: is missing, while WATERMARK_ENABLED is true');
  // Else a worker would be declared dead between two of its heartbeats.
  if (parsed.data && parsed.data.WORKER_DEAD_AFTER < 2 * parsed.data.HEARTBEAT_INTERVAL)
    faults.push('WORKER_DEAD_AFTER: must be at least twice HEARTBEAT_INTERVAL');
  if (!parsed.success || faults.length > 0)
    throw new UsageError(`The environment has faults:\n  ${faults.join('\n  ')}`);
  return shape(parsed.data, env['PATH'] ?? '');
}

/** Editors on Windows may begin `.env` with a byte order mark, and Node reads it as part of the first name. */
const markedNames = (given: Record<string, unknown>): string[] =>
  Object.keys(given)
    .filter((name) => name.startsWith('\uFEFF'))
    .map(
      (name) => `${name.slice(1)}: is not read, for .env begins with a byte order mark: save it as UTF-8 without one`,
    );

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

function shape(env: Env, searchPath: string) {
  const dataDir = resolve(env.DATA_DIR);
  const storage = storageOf(env, dataDir);
  const port = env.PORT ?? env.HEALTH_CHECK_PORT;
  return {
    production: env.NODE_ENV === 'production',
    logLevel: env.LOG_LEVEL,
    /** Includes the schema of our tables, if one was set. */
    databaseUrl: env.DATABASE_URL && withSchema(env.DATABASE_URL, env.ROWMILL_SCHEMA),
    /** Undefined: the schema that the address or the role's search_path gives. */
    schema: env.ROWMILL_SCHEMA,
    connections: connectionsOf(env.DATABASE_CONNECTIONS),
    dataDir,
    tempDir: env.TEMP_DIR ?? tmpdir(),

    /** Kinds of the user's own, and the migrations of their tables. */
    jobsDir: env.JOBS_DIR && resolve(env.JOBS_DIR),
    migrationsDir: env.MIGRATIONS_DIR && resolve(env.MIGRATIONS_DIR),

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
    incidentCheckMs: env.INCIDENT_CHECK_INTERVAL,

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
    storage,
    /** Whether URLs must be signed, because the bucket is not public. A folder has nothing to sign with. */
    storagePrivate: (env.STORAGE_PRIVATE ?? false) && storage.provider !== 'local',

    ...mediaOf(env, searchPath),

    prekeyMode: env.PREKEY_MODE,
    /** If false, cleanup.orphaned_media only reports what it would delete. */
    orphanedMediaDelete: env.ORPHANED_MEDIA_DELETE ?? false,

    /** Values that must never get into a log line or a text column. */
    secrets: secretsOf(env),
  };
}

function mediaOf(env: Env, searchPath: string) {
  return {
    mediaMemoryBytes: (env.MEDIA_MEMORY_MB ?? usualMediaMemory()) * 1_000_000,
    /** For one picture. By default 280 MB: a picture that needs more is probably an attack. */
    pictureMemoryBytes: (env.MEDIA_MEMORY_MB ?? 280) * 1_000_000,
    mediaMaxBytes: env.MEDIA_MAX_MB * 1_000_000,
    /** What to do with an original that is cut off: fail the job, or process what is there. */
    mediaTruncated: env.MEDIA_TRUNCATED,
    ffmpeg: {
      ...(env.FFMPEG_PATH ? { ffmpeg: env.FFMPEG_PATH } : {}),
      ...(env.FFPROBE_PATH ? { ffprobe: env.FFPROBE_PATH } : {}),
      searchPath,
      bundled: env.NODE_ENV !== 'production',
    },
    video: {
      preset: env.FFMPEG_PRESET,
      /** The highest bit rate, in bits per second. Undefined: by the size of the picture. */
      videoBitrate: env.VIDEO_BITRATE,
      audioBitrate: env.AUDIO_BITRATE,
      maxSeconds: env.VIDEO_MAX_SECONDS,
    },
    watermark: {
      enabled: env.WATERMARK_ENABLED ?? false,
      path: env.WATERMARK_PATH,
      position: env.WATERMARK_POSITION,
      opacity: env.WATERMARK_OPACITY,
      /** The width of the watermark as a part of the video's width. */
      scale: env.WATERMARK_SCALE,
    },
    thumbnailSizes: env.THUMBNAIL_SIZES,
    imagorVideoUrl: env.IMAGORVIDEO_URL,
  };
}

/** In megabytes: what 8K video needs at most; on a machine of 512 MB, a little more than half. */
const usualMediaMemory = () => (memoryHere().bytes >= 2e9 ? 700 : 280);

function secretsOf(env: Env): string[] {
  const password = env.DATABASE_URL && readAddress(env.DATABASE_URL).password;
  return [
    env.RAID_PUBLISHER_SECRET,
    env.B2_APP_KEY,
    env.MINIO_SECRET_KEY,
    env.AWS_SECRET_ACCESS_KEY,
    password,
    password && encodeURIComponent(password),
  ].filter((secret): secret is string => Boolean(secret && secret.length >= 4));
}
