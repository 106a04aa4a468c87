import { resolve } from 'node:path';
import { z } from 'zod';
import { group } from './group.ts';
import { endpoint, flag, secret, text, url } from './values.ts';

export type S3Config = {
  provider: 's3';
  bucket: string;
  /** Undefined for AWS itself. */
  endpoint?: string;
  region: string;
  /** Undefined: the SDK finds credentials itself (instance role, shared files). */
  credentials?: { accessKeyId: string; secretAccessKey: string };
  pathStyle: boolean;
};
export type LocalConfig = { provider: 'local'; dir: string };
export type StorageConfig = (S3Config | LocalConfig) & { publicBaseUrl?: string };

const settings = {
  STORAGE_PROVIDER: z.enum(['local', 's3', 'b2', 'minio']).optional(),
  B2_KEY_ID: text.optional(),
  B2_APP_KEY: secret,
  B2_BUCKET: text.optional(),
  B2_ENDPOINT: endpoint.optional(),
  B2_REGION: text.optional(),
  MINIO_ENDPOINT: endpoint.optional(),
  MINIO_ACCESS_KEY: text.optional(),
  MINIO_SECRET_KEY: secret,
  MINIO_BUCKET: text.optional(),
  STORAGE_BUCKET: text.optional(),
  STORAGE_ENDPOINT: endpoint.optional(),
  STORAGE_PATH_STYLE: flag.optional(),
  AWS_REGION: text.optional(),
  AWS_ACCESS_KEY_ID: text.optional(),
  AWS_SECRET_ACCESS_KEY: secret,
  CDN_BASE_URL: url.optional(),
  STORAGE_PRIVATE: flag.optional(),
};
type Env = z.output<z.ZodObject<typeof settings>>;

/** Where files are stored. */
export const storage = group({
  settings,
  together: {
    B2: ['B2_KEY_ID', 'B2_APP_KEY', 'B2_BUCKET', 'B2_ENDPOINT'],
    MinIO: ['MINIO_ENDPOINT', 'MINIO_ACCESS_KEY', 'MINIO_SECRET_KEY', 'MINIO_BUCKET'],
    AWS: ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'],
  },
  faults: ambiguous,
  read(env, { dataDir }) {
    const chosen = storageOf(env, dataDir);
    return {
      storage: chosen,
      /** Whether URLs must be signed, because the bucket is not public. A folder has nothing to sign with. */
      storagePrivate: (env.STORAGE_PRIVATE ?? false) && chosen.provider !== 'local',
    };
  },
});

/** What is wrong with the choice of a storage. */
function ambiguous(given: Record<string, string>): string[] {
  const bucketOf = { b2: 'B2_BUCKET', minio: 'MINIO_BUCKET', s3: 'STORAGE_BUCKET' };
  const set = Object.values(bucketOf).filter((name) => name in given);
  if (!('STORAGE_PROVIDER' in given)) {
    return set.length > 1 ? [`STORAGE_PROVIDER: must say which of ${set.join(', ')} to use`] : [];
  }
  return Object.entries(bucketOf)
    .filter(([provider, bucket]) => given['STORAGE_PROVIDER'] === provider && !(bucket in given))
    .map(([provider, bucket]) => `${bucket}: is missing, while STORAGE_PROVIDER is ${provider}`);
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

const withProtocol = (host: string) => (/^https?:\/\//.test(host) ? host : `https://${host}`).replace(/\/+$/, '');
