import type { StorageConfig } from '../config/storage.ts';
import { LocalStorage } from './local.ts';
import { S3Storage } from './s3.ts';
import type { Storage } from './storage.ts';

export function createStorage(config: StorageConfig): Storage {
  return config.provider === 'local' ? new LocalStorage(config) : new S3Storage(config);
}
