import type { S3Config } from '../config/storage.ts';
import { PermanentError } from '../errors.ts';
import type { DeleteFailure } from './storage.ts';

/**
 * Where local.ts keeps files until they are complete. No storage takes such a key, so that all storages take the same
 * keys.
 */
export const INCOMING = '.incoming';

/**
 * Refuses a key that one of our storages could not keep, or could mistake for another key. The rules are those of
 * Backblaze B2 (https://www.backblaze.com/docs/cloud-storage-files), which are narrower than S3's, and those of file
 * systems; no `.` or `..`, which paths and many HTTP clients resolve.
 *
 * @throws PermanentError `invalid_storage_key`
 */
export function checkKey(key: string): void {
  const fault = faultOf(key);
  if (fault) throw new PermanentError('invalid_storage_key', messageFor(key, fault));
}

/** The invalid keys of a list, as failures. An invalid key must not keep the others from being deleted. */
export function keyFailures(keys: string[]): DeleteFailure[] {
  return keys.flatMap((key) => {
    const fault = faultOf(key);
    return fault ? [{ key, error_code: 'invalid_storage_key', error: messageFor(key, fault) }] : [];
  });
}

/** `base/key`, each segment of the key percent-encoded. @throws PermanentError `invalid_storage_key` */
export function addressOf(base: string, key: string): string {
  checkKey(key);
  return `${base}/${key.split('/').map(encodeURIComponent).join('/')}`;
}

/** The URL of the bucket, below which its objects are. */
export function addressOfBucket({ endpoint, region, bucket, pathStyle }: S3Config): string {
  const base = (endpoint ?? `https://s3.${region}.amazonaws.com`).replace(/\/+$/, '');
  return pathStyle ? `${base}/${bucket}` : base.replace('://', `://${bucket}.`);
}

function faultOf(key: string): string | undefined {
  if (key === '') return 'it is empty';
  if (!key.isWellFormed()) return 'it is not well-formed Unicode';
  if (/[\p{Cc}\\]/u.test(key)) return 'it has a control character or a backslash';
  if (Buffer.byteLength(key) > 1024) return 'it is longer than 1024 bytes';
  const segments = key.split('/');
  if (segments.includes('')) return 'it starts or ends with a slash, or has two in a row';
  if (segments.some((segment) => segment === '.' || segment === '..')) return 'it has a "." or ".." segment';
  if (segments.some((segment) => Buffer.byteLength(segment) > 250)) return 'it has a segment longer than 250 bytes';
  if (segments[0] === INCOMING) return `"${INCOMING}" is reserved`;
  return undefined;
}

const messageFor = (key: string, fault: string) =>
  `${JSON.stringify(key.slice(0, 200))} cannot be the key of an object: ${fault}`;
