import type { Readable } from 'node:stream';

/**
 * Where files are stored. Implementations: s3.ts (AWS, Backblaze B2, MinIO, R2) and local.ts (a folder).
 *
 * All methods but `list` take only keys that checkKey (key.ts) accepts, and throw PermanentError `invalid_storage_key`
 * for others. If a `signal` fires, they throw its reason. Other failures have a code: DeploymentError
 * `storage_bucket_missing`, `storage_denied`, `storage_full`, and `storage_unavailable` if nobody answers;
 * RetryableError `storage_unavailable`, `storage_timeout`, `storage_refused`.
 */
export type Storage = {
  /**
   * Stores a whole object under `key`, replacing what was there; nothing is visible until all of it is.
   * `body` is the bytes, or the path of a local file, which is streamed.
   */
  put(key: string, body: Uint8Array | { path: string }, options: PutOptions): Promise<void>;

  /**
   * The object's bytes, or those of a range, as a stream the caller must read or destroy; a transfer that breaks off is
   * an error of the stream.
   * @throws PermanentError `object_not_found`
   */
  get(key: string, options?: GetOptions): Promise<Readable>;

  /** What is stored under `key`, or undefined. A bucket that is not there is an error. */
  head(key: string, options?: { signal?: AbortSignal }): Promise<StoredObject | undefined>;

  /**
   * Deletes many objects; a missing key counts as deleted. Resolves to the failures of single keys, including invalid
   * ones. A failure of all keys is thrown.
   */
  delete(keys: string[], options?: { signal?: AbortSignal }): Promise<DeleteFailure[]>;

  /** Every object whose key starts with `prefix`, in order of the key's UTF-8 bytes. Fetched page by page. */
  list(prefix: string, options?: { signal?: AbortSignal }): AsyncIterable<StoredObject>;

  /** The public address of an object: under CDN_BASE_URL, if that is set. */
  url(key: string): string;

  /** An address with which anybody can read the object for `seconds`, at most a week. It is a secret: never log it. */
  presign(key: string, seconds: number): Promise<string>;

  /** Whether objects can be written, read and deleted, by doing so. @throws what is wrong, with its code */
  check(options?: { signal?: AbortSignal }): Promise<void>;
};

export type PutOptions = { contentType: string; cacheControl?: string; signal?: AbortSignal };
/** `range` is within the object: both ends are included, and counted from 0. */
export type GetOptions = { signal?: AbortSignal; range?: ByteRange | undefined };
export type ByteRange = { start: number; end: number };
/** `content_type` comes from `head` only. */
export type StoredObject = { key: string; bytes: number; modified_at: Date; content_type?: string };
export type DeleteFailure = { key: string; error_code: string; error: string };

/** S3 signs for a week at most. https://docs.aws.amazon.com/AmazonS3/latest/userguide/ShareObjectPreSignedURL.html */
export function checkSeconds(seconds: number): void {
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > 604_800)
    throw new RangeError(`an address can be signed for whole seconds from 1 to 604800 (a week), not ${seconds}`);
}
