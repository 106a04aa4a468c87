import { PassThrough, type Readable } from 'node:stream';
import {
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type S3Client,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import type { S3Config } from '../config/storage.ts';
import { codeOf } from '../errors.ts';
import { usualPatience } from '../retry.ts';
import { checkByDoing } from './check.ts';
import { addressOf, addressOfBucket, checkKey, keyFailures } from './key.ts';
import { asking, createClient, sendOptions } from './s3-client.ts';
import { deleteMany } from './s3-delete.ts';
import { storageError, storageErrorOf } from './s3-errors.ts';
import { putBytes, putFile } from './s3-upload.ts';
import {
  checkSeconds,
  type DeleteFailure,
  type GetOptions,
  type PutOptions,
  type Storage,
  type StoredObject,
} from './storage.ts';

const defaultLimits = {
  connectMs: 5_000,
  /** How long a connection may carry nothing in either direction. So a long transfer has no limit as a whole. */
  idleMs: 60_000,
  multipartBytes: 100_000_000,
  partBytes: 16 * 1024 * 1024,
  patience: usualPatience,
};
type Limits = typeof defaultLimits;
type Options = { signal?: AbortSignal };

/**
 * A bucket of AWS S3, Backblaze B2, MinIO, R2, Ceph and others: it uses nothing that only AWS has. Each request is
 * tried several times if that may help (base/retry.ts). Errors are those of s3-errors.ts, or the signal's reason once
 * it has fired.
 *
 * In a bucket that keeps versions, as those of Backblaze B2 always do, `delete` hides the object, and the bucket's
 * lifecycle rules remove it. https://www.backblaze.com/apidocs/s3-delete-object
 */
export class S3Storage implements Storage {
  readonly #bucket: string;
  /** The address of the bucket, without a key. */
  readonly #address: string;
  readonly #host: string;
  readonly #publicBaseUrl: string | undefined;
  readonly #limits: Limits;
  readonly #client: S3Client;
  #bucketIsThere = false;

  constructor(config: S3Config & { publicBaseUrl?: string }, limits: Partial<Limits> = {}) {
    this.#bucket = config.bucket;
    this.#address = addressOfBucket(config);
    this.#host = new URL(this.#address).host;
    this.#publicBaseUrl = config.publicBaseUrl;
    this.#limits = { ...defaultLimits, ...limits };
    this.#client = createClient(config, this.#limits);
  }

  async put(key: string, body: Uint8Array | { path: string }, options: PutOptions): Promise<void> {
    checkKey(key);
    const { contentType, cacheControl, signal } = options;
    const object = {
      Bucket: this.#bucket,
      Key: key,
      ContentType: contentType,
      ...(cacheControl ? { CacheControl: cacheControl } : {}),
    };
    await this.#try(`writing "${key}"`, signal, () =>
      body instanceof Uint8Array
        ? putBytes(this.#client, object, body, this.#limits.patience, signal)
        : putFile(this.#client, object, body.path, this.#limits, signal),
    );
  }

  /** A reader that takes nothing for a minute loses the connection, and gets a `storage_timeout`. */
  async get(key: string, { signal, range }: GetOptions = {}): Promise<Readable> {
    checkKey(key);
    const doing = `reading "${key}"`;
    const command = new GetObjectCommand({
      Bucket: this.#bucket,
      Key: key,
      ...(range ? { Range: `bytes=${range.start}-${range.end}` } : {}),
    });
    const { Body } = await this.#ask(doing, signal, () => this.#client.send(command, sendOptions(signal)));
    return this.#relay(Body as Readable, doing, signal);
  }

  async head(key: string, { signal }: Options = {}): Promise<StoredObject | undefined> {
    checkKey(key);
    const command = new HeadObjectCommand({ Bucket: this.#bucket, Key: key });
    try {
      const found = await this.#ask(`checking "${key}"`, signal, () => this.#client.send(command, sendOptions(signal)));
      const object = storedObject(key, found.ContentLength, found.LastModified);
      return found.ContentType ? { ...object, content_type: found.ContentType } : object;
    } catch (error) {
      if (codeOf(error) !== 'object_not_found') throw error;
      await this.#assertBucket(signal);
      return undefined;
    }
  }

  async delete(keys: string[], { signal }: Options = {}): Promise<DeleteFailure[]> {
    const failures = keyFailures(keys);
    const invalid = new Set(failures.map(({ key }) => key));
    const valid = keys.filter((key) => !invalid.has(key));
    const { patience } = this.#limits;
    const where = { client: this.#client, bucket: this.#bucket, host: this.#host, patience };
    const deletion = { ...where, ...(signal ? { signal } : {}) };
    for (let at = 0; at < valid.length; at += 1000) {
      const page = valid.slice(at, at + 1000);
      const doing = `deleting objects, "${page[0]}" first`;
      failures.push(...(await this.#try(doing, signal, () => deleteMany(deletion, page))));
    }
    return failures;
  }

  async *list(prefix: string, { signal }: Options = {}): AsyncGenerator<StoredObject> {
    for (let token: string | undefined; ;) {
      const where = { Bucket: this.#bucket, Prefix: prefix, MaxKeys: 1000, ContinuationToken: token };
      const command = new ListObjectsV2Command(where);
      const page = await this.#ask(`listing "${prefix}"`, signal, () =>
        this.#client.send(command, sendOptions(signal)),
      );
      for (const { Key, Size, LastModified } of page.Contents ?? [])
        if (Key !== undefined) yield storedObject(Key, Size, LastModified);
      token = page.NextContinuationToken;
      if (token === undefined) return;
    }
  }

  url(key: string): string {
    return addressOf(this.#publicBaseUrl ?? this.#address, key);
  }

  /** At the bucket's own address, also if there is a CDN, which would not accept the signature. */
  async presign(key: string, seconds: number): Promise<string> {
    checkKey(key);
    checkSeconds(seconds);
    const command = new GetObjectCommand({ Bucket: this.#bucket, Key: key });
    return this.#try(`signing "${key}"`, undefined, () => getSignedUrl(this.#client, command, { expiresIn: seconds }));
  }

  async check(options: Options = {}): Promise<void> {
    await checkByDoing(this, options);
  }

  /** Sends a request that is safe to repeat. */
  #ask<T>(doing: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    return this.#try(doing, signal, () => asking(work, signal, this.#limits.patience));
  }

  async #try<T>(doing: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.#named(error, doing, signal);
    }
  }

  /** A transfer may break off in the middle, so the errors of its stream are translated, too. */
  #relay(body: Readable, doing: string, signal: AbortSignal | undefined): Readable {
    const out = new PassThrough();
    body.once('error', (error) => out.destroy(this.#named(error, doing, signal) as Error));
    out.once('close', () => body.destroy());
    return body.pipe(out);
  }

  #named(error: unknown, doing: string, signal: AbortSignal | undefined): unknown {
    return signal?.aborted ? signal.reason : storageError(error, { doing, bucket: this.#bucket, host: this.#host });
  }

  /**
   * The 404 of a HEAD does not say whether the object or the bucket is missing. A cleanup that takes a missing bucket
   * for an empty one may delete a lot.
   */
  async #assertBucket(signal: AbortSignal | undefined): Promise<void> {
    if (this.#bucketIsThere) return;
    const doing = 'checking the bucket';
    const command = new HeadBucketCommand({ Bucket: this.#bucket });
    try {
      await this.#ask(doing, signal, () => this.#client.send(command, sendOptions(signal)));
    } catch (error) {
      const code = codeOf(error);
      if (code === 'object_not_found')
        throw storageErrorOf('NoSuchBucket', { doing, bucket: this.#bucket, host: this.#host });
      if (code !== 'storage_denied') throw error; // some keys may only touch objects
    }
    this.#bucketIsThere = true;
  }
}

function storedObject(key: string, bytes = 0, modifiedAt = new Date(0)): StoredObject {
  return { key, bytes, modified_at: modifiedAt };
}
