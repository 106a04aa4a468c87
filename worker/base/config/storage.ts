import { resolve } from 'node:path';
import type { Env } from './schema.ts';

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

/** What is wrong with the choice of a storage, one line per fault. */
export function ambiguousStorage(given: Record<string, unknown>): string[] {
  const bucketOf = { b2: 'B2_BUCKET', minio: 'MINIO_BUCKET', s3: 'STORAGE_BUCKET' };
  const set = Object.values(bucketOf).filter((name) => name in given);
  if (!('STORAGE_PROVIDER' in given)) {
    return set.length > 1 ? [`STORAGE_PROVIDER: must say which of ${set.join(', ')} to use`] : [];
  }
  return Object.entries(bucketOf)
    .filter(([provider, bucket]) => given['STORAGE_PROVIDER'] === provider && !(bucket in given))
    .map(([provider, bucket]) => `${bucket}: is missing, while STORAGE_PROVIDER is ${provider}`);
}

export function storageOf(env: Env, dataDir: string): StorageConfig {
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
