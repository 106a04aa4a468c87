import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { App } from '../../../app.ts';
import { codeOf, PermanentError, RetryableError } from '../../../base/errors.ts';
import { loadStatements, query, type Queryable } from '../../../base/db/sql.ts';
import { download } from '../../../base/storage/download.ts';
import { outputsOf, type Outputs } from '../../../media/outputs/outputs.ts';
import type { JobRow } from '../../../queue/job.ts';

const sql = loadStatements(import.meta.dirname, 'original.sql', [
  'load_media',
  'name_file',
  'hold_folder',
  'call_off_deletions',
  'save_media',
  'tell_application',
]);

/** No storage has longer keys. https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html */
const objectKey = z.string().min(1).max(1024);

/** Fields that the services before Rowmill put into payloads. on_media_processed may use them. */
const unused = z.unknown().optional();
const forTheApplication = { type: unused, userId: unused, messageId: unused, originalName: unused, videoId: unused };

/** In JSON, a bigint is a number or in quotes; other ids are in quotes. */
const idOfMedia = z.union([z.string().min(1).max(500), z.int()]).transform(String);

/**
 * Names the original of a media job: by its key in storage, under one of three names, or by a row of media and its
 * source_key. The job's file_id names such a row, too. The other fields, such as messageId, are for on_media_processed.
 */
export const originalPayload = z.object({
  s3Key: objectKey.optional(),
  inputPath: objectKey.optional(),
  key: objectKey.optional(),
  mediaId: idOfMedia.optional(),
  ...forTheApplication,
});
type OriginalPayload = z.output<typeof originalPayload>;

/**
 * The key of the original: the payload's if it has one, otherwise that of the row of media. Keys have no slash in
 * front. A file of this machine is never read, whatever its name: otherwise anybody could read any file.
 * @throws PermanentError `source_key_missing`
 */
export function keyOf(
  { s3Key, inputPath, key }: Omit<OriginalPayload, 'mediaId'>,
  media: { source_key: string | null } | undefined,
): string {
  const found = s3Key ?? inputPath?.replace(/^\/+/, '') ?? key ?? media?.source_key;
  if (!found)
    throw new PermanentError(
      'source_key_missing',
      'The job names no original: the payload needs s3Key, or mediaId of a row of media with a source_key',
    );
  return found;
}

export type Original = { key: string; media: Media | undefined };
type Media = { id: string; source_key: string | null; deleted_at: Date | null };

/** @throws PermanentError `media_not_found`, `media_deleted`, `source_key_missing` */
export async function findOriginal(db: Queryable, job: JobRow, payload: OriginalPayload): Promise<Original> {
  const id = job.file_id ?? payload.mediaId;
  const media = id === undefined ? undefined : await loadMedia(db, id);
  if (media) await nameFile(db, job, media);
  return { key: keyOf(payload, media), media };
}

/** The row of media was created after the job: from now on media.status follows the job. */
export async function nameFile(db: Queryable, { id, file_id }: JobRow, media: { id: string }): Promise<void> {
  if (file_id === null) await query(db, sql.name_file, { id, media: media.id });
}

async function loadMedia(db: Queryable, id: string): Promise<Media> {
  const [media] = await query<Media>(db, sql.load_media, { id });
  if (!media) throw new PermanentError('media_not_found', 'The row of media that the job names does not exist');
  if (media.deleted_at) throw new PermanentError('media_deleted', 'The row of media was deleted');
  return media;
}

/**
 * Runs `work` on an original. If it is cut off, and the object has changed since it was read, the job is retried: the
 * object may still be on its way into storage.
 * @throws RetryableError `original_changed`; what `work` throws
 */
export async function unlessGrowing<T extends { source: { truncated?: true } }>(
  work: () => Promise<T>,
  hasChanged: () => Promise<boolean>,
): Promise<T> {
  try {
    const made = await work();
    if (made.source.truncated && (await hasChanged())) throw originalChanged();
    return made;
  } catch (error) {
    if (codeOf(error) === 'media_truncated' && (await hasChanged())) throw originalChanged();
    throw error;
  }
}

/**
 * Downloads an original of video or sound, and runs `work`. If the object has another size afterwards, somebody is
 * still writing it, so the result, or the error, is about a part of it: most formats play wherever they end.
 * @throws RetryableError `original_changed`; what `download` and `work` throw
 */
export async function withOriginal<Made>(
  app: App,
  key: string,
  { path, signal }: { path: string; signal: AbortSignal },
  work: () => Promise<Made>,
): Promise<Made & { sha256: string }> {
  const { storage, config } = app;
  const { bytes, sha256 } = await download(storage, key, { to: path, maxBytes: config.mediaMaxBytes, signal });
  const isChanged = () => isResized(app, key, bytes, signal);
  try {
    const made = await work();
    if (await isChanged()) throw originalChanged();
    return { ...made, sha256 };
  } catch (error) {
    if (!(error instanceof PermanentError)) throw error;
    // A file in a folder may be written slowly.
    const isFresh = config.storage.provider === 'local' && (await ageOf(app, key, signal)) < settleMs;
    if (isFresh && !(await isChanged())) await sleep(settleMs, undefined, { signal });
    if (await isChanged()) throw originalChanged();
    throw error;
  }
}

const originalChanged = () =>
  new RetryableError(
    'original_changed',
    'The original has changed since it was read: it may still be on its way into storage',
  );

/** The field `truncated` of a result; no field if the original was not cut off. */
export const truncatedOf = ({ truncated }: { truncated?: true }): { truncated?: true } =>
  truncated ? { truncated } : {};

/** Whether the object's size differs from what was read. */
export async function isResized({ storage }: App, key: string, bytes: number, signal: AbortSignal): Promise<boolean> {
  return (await storage.head(key, { signal }))?.bytes !== bytes;
}

/** Milliseconds without a change after which a file counts as complete. */
const settleMs = 2_000;

async function ageOf({ storage }: App, key: string, signal: AbortSignal): Promise<number> {
  const found = await storage.head(key, { signal });
  return found ? Date.now() - found.modified_at.getTime() : 0;
}

/**
 * Where the outputs of a job go. While the job runs, no cleanup deletes anything there: an earlier job may have written
 * the same files for a message that has expired.
 */
export async function prepareOutputs(
  { db, storage, config }: App,
  { id: job_id }: JobRow,
  source: Parameters<typeof outputsOf>[1],
  recipe: unknown,
  signal: AbortSignal,
): Promise<Outputs> {
  const outputs = outputsOf(storage, source, recipe, { signal, presigned: config.storagePrivate });
  const { folder } = outputs;
  await query(db, sql.hold_folder, { job_id, folder });
  await query(db, sql.call_off_deletions, { folder });
  return outputs;
}

/**
 * Writes the result to the row of media, if there is one, and calls on_media_processed, in the transaction that
 * completes the job.
 * @throws RetryableError `media_changed`
 */
export async function saveProcessed(
  tx: Queryable,
  { kind, payload }: JobRow,
  { media }: Original,
  result: { url: string; thumbnail_url?: string; metadata: object },
): Promise<void> {
  if (media) {
    const { url, thumbnail_url = null, metadata } = result;
    const { id, source_key } = media;
    const saved = await query(tx, sql.save_media, { id, source_key, url, thumbnail_url, metadata });
    if (saved.length === 0)
      throw new RetryableError('media_changed', 'The row of media was deleted or got another original meanwhile');
  }
  await query(tx, sql.tell_application, { kind, payload, result: JSON.stringify(result) });
}
