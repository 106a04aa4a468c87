import type { S3Config, StorageConfig } from '../config/storage.ts';
import { addressOf, addressOfBucket } from './key.ts';
import { LocalStorage } from './local.ts';
import type { Storage } from './storage.ts';

export function createStorage(config: StorageConfig): Storage {
  return config.provider === 'local' ? new LocalStorage(config) : lazyS3(config);
}

/** The SDK of AWS takes a quarter of a second and 34 MB to load: it is loaded by the first request. */
function lazyS3(config: S3Config & { publicBaseUrl?: string }): Storage {
  let loading: Promise<Storage> | undefined;
  const s3 = () => (loading ??= import('./s3.ts').then(({ S3Storage }) => new S3Storage(config)));
  return {
    put: async (...args) => (await s3()).put(...args),
    get: async (...args) => (await s3()).get(...args),
    head: async (...args) => (await s3()).head(...args),
    delete: async (...args) => (await s3()).delete(...args),
    async *list(...args) {
      yield* (await s3()).list(...args);
    },
    url: (key) => addressOf(config.publicBaseUrl ?? addressOfBucket(config), key),
    presign: async (...args) => (await s3()).presign(...args),
    check: async (...args) => (await s3()).check(...args),
  };
}
