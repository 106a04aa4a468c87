import { createHash } from 'node:crypto';
import { DeleteObjectCommand, DeleteObjectsCommand, type S3Client } from '@aws-sdk/client-s3';
import { codeOf } from '../errors.ts';
import type { Patience } from '../retry.ts';
import { asking, sendOptions } from './s3-client.ts';
import { type S3Request, storageError, type StorageError, storageErrorOf } from './s3-errors.ts';
import type { DeleteFailure } from './storage.ts';

type Deletion = { client: S3Client; bucket: string; host: string; patience: Patience; signal?: AbortSignal };

/** Deletes up to 1000 keys in one request, or one by one if the server cannot do that. Resolves to the failures. */
export async function deleteMany(deletion: Deletion, keys: string[]): Promise<DeleteFailure[]> {
  const { client, bucket, patience, signal } = deletion;
  try {
    const send = () => client.send(deleteObjects(bucket, keys), sendOptions(signal));
    const { Errors = [] } = await asking(send, signal, patience);
    return Errors.flatMap(({ Key = '', Code = '' }) => failureOf(Key, storageErrorOf(Code, requestOf(deletion, Key))));
  } catch (error) {
    if (!isUnsupported(error)) throw error;
    return deleteEach(deletion, keys);
  }
}

/**
 * Adds the MD5 checksum that all servers know. Since version 3.729 the SDK sends another one, which older MinIO, Swift
 * and others refuse. https://github.com/aws/aws-sdk-js-v3/blob/main/supplemental-docs/MD5_FALLBACK.md
 */
function deleteObjects(bucket: string, keys: string[]): DeleteObjectsCommand {
  const command = new DeleteObjectsCommand({
    Bucket: bucket,
    Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: true },
  });
  command.middlewareStack.add(
    (next) => (args) => {
      const { headers, body } = args.request as { headers: Record<string, string>; body: string };
      for (const name of Object.keys(headers)) if (/^x-amz-(sdk-)?checksum-/i.test(name)) delete headers[name];
      headers['content-md5'] = createHash('md5').update(body).digest('base64');
      return next(args);
    },
    { step: 'build', priority: 'low' }, // after the SDK's own checksum, before the signature
  );
  return command;
}

/** The answers of servers that do not know DeleteObjects, or not with these checksums. */
function isUnsupported(error: unknown): boolean {
  const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode;
  if (status === 405 || status === 501) return true;
  return ['BadDigest', 'InvalidDigest', 'InvalidRequest', 'MethodNotAllowed', 'NotImplemented'].includes(name ?? '');
}

async function deleteEach(deletion: Deletion, keys: string[]): Promise<DeleteFailure[]> {
  const failures: DeleteFailure[] = [];
  for (let at = 0; at < keys.length; at += 8)
    failures.push(...(await Promise.all(keys.slice(at, at + 8).map((key) => deleteOne(deletion, key)))).flat());
  return failures;
}

/** If the server cannot be reached, the whole request fails, not just this key. */
async function deleteOne(deletion: Deletion, key: string): Promise<DeleteFailure[]> {
  const { client, bucket, patience, signal } = deletion;
  try {
    const command = new DeleteObjectCommand({ Bucket: bucket, Key: key });
    await asking(() => client.send(command, sendOptions(signal)), signal, patience);
    return [];
  } catch (error) {
    const named = storageError(error, requestOf(deletion, key));
    if (!ofThisKey.includes(codeOf(named) ?? '')) throw error;
    return failureOf(key, named as StorageError);
  }
}

const ofThisKey = ['object_not_found', 'storage_denied'];

function failureOf(key: string, { code, message }: StorageError): DeleteFailure[] {
  return code === 'object_not_found' ? [] : [{ key, error_code: code, error: message }];
}

const requestOf = ({ bucket, host }: Deletion, key: string): S3Request => ({
  bucket,
  host,
  doing: `deleting "${key}"`,
});
