import { open, stat } from 'node:fs/promises';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import type { Patience } from '../retry.ts';
import { asking, sendOptions } from './s3-client.ts';

export type S3Object = { Bucket: string; Key: string; ContentType: string; CacheControl?: string };
type UploadLimits = { multipartBytes: number; partBytes: number; patience: Patience };

/** Uploads a file while it is read: in one request up to `multipartBytes`, above it in parts, two at a time. */
export async function putFile(
  client: S3Client,
  object: S3Object,
  path: string,
  { multipartBytes, partBytes, patience }: UploadLimits,
  signal?: AbortSignal,
): Promise<void> {
  const { size } = await stat(path);
  if (size === 0) await putBytes(client, object, new Uint8Array(), patience, signal);
  else if (size <= multipartBytes) await asking(() => putStream(client, object, path, size, signal), signal, patience);
  else await putParts(endingWith(signal, client, object, size, patience), object, path, size, partBytes);
}

export async function putBytes(
  client: S3Client,
  object: S3Object,
  bytes: Uint8Array,
  patience: Patience,
  signal?: AbortSignal,
): Promise<void> {
  const command = new PutObjectCommand({ ...object, Body: bytes, ContentLength: bytes.byteLength });
  await asking(() => client.send(command, sendOptions(signal)), signal, patience);
}

/**
 * Reads the file from its beginning, each time. If the file cannot be read, the SDK does not notice (the process would
 * die of the error) and does not close it: so both are done here.
 */
async function putStream(client: S3Client, object: S3Object, path: string, size: number, signal?: AbortSignal) {
  const file = await open(path);
  const body = file.createReadStream({ start: 0, end: size - 1, autoClose: false });
  const unreadable = new AbortController();
  body.once('error', (error) => unreadable.abort(error));
  const command = new PutObjectCommand({ ...object, Body: body, ContentLength: size });
  const signals = [unreadable.signal, ...(signal ? [signal] : [])];
  try {
    await client.send(command, { abortSignal: AbortSignal.any(signals) });
  } catch (error) {
    throw body.errored ?? error;
  } finally {
    body.destroy();
    await file.close();
  }
}

async function putParts(client: S3Client, object: S3Object, path: string, size: number, partBytes: number) {
  const file = await open(path);
  const body = file.createReadStream({ start: 0, end: size - 1, autoClose: false });
  const upload = new Upload({
    client,
    params: { ...object, Body: body, ContentLength: size },
    partSize: Math.max(partBytes, Math.ceil(size / 10_000)), // S3 takes 10,000 parts
    queueSize: 2,
  });
  try {
    await upload.done();
  } finally {
    body.destroy();
    await file.close();
  }
}

/**
 * If `Upload` got the signal itself, it would leave its parts in flight and return before it has cleaned up. With this
 * client, each of its requests ends with the signal, and then `Upload` removes the parts of the failed upload, which
 * would otherwise stay in the bucket unseen and be paid for. We wait for that, but not for long, and it never hides the
 * cause. Each part is in memory, so each request can be sent again.
 */
function endingWith(
  signal: AbortSignal | undefined,
  client: S3Client,
  { Bucket, Key }: S3Object,
  size: number,
  patience: Patience,
): S3Client {
  const send = (command: Parameters<S3Client['send']>[0]) => {
    if (command instanceof AbortMultipartUploadCommand) {
      const soon = AbortSignal.timeout(5_000);
      return asking(() => client.send(command, { abortSignal: soon }), soon, patience).catch(() => undefined);
    }
    const ask = async (tries: number) => {
      try {
        return await client.send(command, sendOptions(signal));
      } catch (error) {
        if (tries > 1 && command instanceof CompleteMultipartUploadCommand && isNoUpload(error) && (await isThere()))
          return { $metadata: {} };
        throw error;
      }
    };
    return asking(ask, signal, patience);
  };
  /** The answer to the first completion may have been lost: then the upload is gone, and the object is there. */
  const isThere = async () => {
    const head = new HeadObjectCommand({ Bucket, Key });
    const found = asking(() => client.send(head, sendOptions(signal)), signal, patience);
    const { ContentLength } = await found.catch((error: unknown) => {
      if ((error as Error).name === 'NotFound') return { ContentLength: undefined };
      throw error;
    });
    return ContentLength === size;
  };
  return Object.create(client, { send: { value: send } }) as S3Client;
}

const isNoUpload = (error: unknown) => (error as { name?: string }).name === 'NoSuchUpload';
