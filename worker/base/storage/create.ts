import { createRequire } from 'node:module';
import type { StorageConfig } from '../config/storage.ts';
import { LocalStorage } from './local.ts';
import type { Storage } from './storage.ts';

export function createStorage(config: StorageConfig): Storage {
  if (config.provider === 'local') return new LocalStorage(config);
  // Loading the SDK of AWS takes a tenth of a second of CPU, a quarter of a start: only where there is a bucket.
  const { S3Storage } = createRequire(import.meta.url)('./s3.ts') as typeof import('./s3.ts');
  return new S3Storage(config);
}
