import { join } from 'node:path';
import { z } from 'zod';
import type { App } from '../../app.ts';
import { codeOf, PermanentError, RetryableError } from '../../base/errors.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { download } from '../../base/storage/download.ts';
import { withTempDir } from '../../base/temp.ts';
import type { Size } from '../../media/ffmpeg/filters.ts';
import type { OutputFormat } from '../../media/image/target.ts';
import type { Source } from '../../media/image/open.ts';
import type { MemoryGate } from '../../media/memory.ts';
import { prefixOf, type Outputs, type Stored } from '../../media/outputs/outputs.ts';
import { sniffImage } from '../../media/image/sniff.ts';
import type { Thumbnail } from '../../media/image/thumbnails.ts';
import { openMedia } from '../../media/ffmpeg/verdict.ts';
import { chooseStreams } from '../../media/ffmpeg/source.ts';
import { job, minutes, type JobRow } from '../../queue/job.ts';
import {
  isResized,
  keyOf,
  nameFile,
  originalPayload,
  prepareOutputs,
  truncatedOf,
  unlessGrowing,
} from './original/original.ts';

const sql = loadStatements(import.meta.dirname, 'thumbnails.sql', ['load_media', 'save_thumbnails', 'tell_messages']);
const formats = ['webp', 'jpeg', 'png', 'avif'] as const satisfies OutputFormat[];
const side = z.int().min(1).max(4096);

/**
 * Makes thumbnails of a row of media, which is a picture or a video, and saves them in it. The job's file_id names the
 * row, or `mediaId` of the payload, which then also sets the file_id: media.status follows the job.
 *
 * A row that does not exist, was deleted, or has these thumbnails of this original already, is skipped; the result says
 * why. Set media.thumbnails to null to have them made again. If the row was deleted while the job waited, its file_id
 * is null; so a job that names no row is skipped, too.
 */
export default job({
  name: 'media.thumbnails',
  payload: originalPayload.extend({
    /** Boxes that the thumbnails fit into, in pixels. Default: THUMBNAIL_SIZES. */
    sizes: z
      .array(z.object({ width: side, height: side }))
      .min(1)
      .max(20)
      .optional(),
    format: z.enum(formats).default('webp'),
  }),
  timeout: minutes(10),

  async run({ job: row, payload, app, signal, progress, waiting, aside, commit }) {
    const { sizes: boxes = app.config.thumbnailSizes, format } = payload;
    const media = await loadMedia(app.db, row.file_id ?? payload.mediaId);
    if (!media) return { skipped: 'media_not_found' };
    if (media.deleted) return { skipped: 'media_deleted' };
    await nameFile(app.db, row, media);
    const key = keyOf(payload, media);
    if (hasThumbnails(media, key, boxes, format)) return { skipped: 'already_made' };

    return withTempDir(app.config.tempDir, async (dir) => {
      const path = join(dir, 'original');
      const { bytes, sha256 } = await download(app.storage, key, {
        to: path,
        maxBytes: app.config.mediaMaxBytes,
        signal,
      });
      progress(30);

      const means = { dir, signal, memory: app.memory.of({ waiting, aside }) };
      const still = await stillOf(app, { path, key }, boxes, means);
      progress(60);
      const { source, thumbnails: made } = await unlessGrowing(
        () => thumbnailsOf(app, still, boxes, format, means),
        () => isResized(app, key, bytes, signal),
      );
      progress(80);

      const recipe = { kind: 'thumbnails', from: still.from };
      const outputs = await prepareOutputs(app, row, { key, sha256 }, recipe, signal);
      const thumbnails = await store(outputs, made, boxes, format);

      return commit(async (tx) => {
        await save(tx, media, thumbnails);
        const result = { thumbnails, ...truncatedOf(source) };
        await tell(tx, row, result);
        return result;
      });
    });
  },
});

type Media = { id: string; source_key: string | null; deleted: boolean; thumbnail_keys: string[] | null };
type Saved = Stored & Size & { format: OutputFormat };

async function loadMedia(db: Queryable, id: string | undefined): Promise<Media | undefined> {
  const [media] = id ? await query<Media>(db, sql.load_media, { id }) : [];
  return media;
}

const fileName = ({ width, height }: Size, format: OutputFormat) => `${width}x${height}.${format}`;

function hasThumbnails(media: Media, key: string, boxes: readonly Size[], format: OutputFormat): boolean {
  const keys = media.thumbnail_keys ?? [];
  return (
    keys.length === boxes.length &&
    boxes.every((box, n) => keys[n]!.startsWith(prefixOf(key)) && keys[n]!.endsWith(`/${fileName(box, format)}`))
  );
}

type Means = { dir: string; signal: AbortSignal; memory: MemoryGate };
type Still = { path: string; from: 'picture' | 'ffmpeg' | 'imagorvideo' };

/** The picture from which all thumbnails are made: the original, or a frame that is large enough for all. */
async function stillOf(
  app: App,
  original: { path: string; key: string },
  boxes: readonly Size[],
  means: Means,
): Promise<Still> {
  if (await isPicture(original.path)) return { path: original.path, from: 'picture' };
  const { dir, signal } = means;
  const { probe } = await openMedia(original.path, 'video', { ffmpeg: app.ffmpeg, dir, signal }).catch(unsupported);
  if (!probe.video[0]) throw unsupportedMedia();
  const { video, seconds: duration } = chooseStreams(probe);

  const { around } = await import('../../media/image/thumbnails.ts');
  const box = around(boxes);
  const source = app.imagorvideo ? await app.storage.presign(original.key, hour) : '';
  // imagorvideo cannot read files of a local storage.
  if (app.imagorvideo && source.startsWith('http')) {
    const path = join(dir, 'frame');
    await app.imagorvideo.takeFrame(source, path, { box, signal });
    return { path, from: 'imagorvideo' };
  }
  const { takeFrame } = await import('../../media/video/frame.ts');
  const { path } = await takeFrame(original.path, { ...means, ffmpeg: app.ffmpeg, video, duration, at: 1, box });
  return { path, from: 'ffmpeg' };
}

const hour = 3600;

async function isPicture(path: string): Promise<boolean> {
  try {
    await sniffImage(path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'not_an_image') return false;
    throw error;
  }
}

function unsupported(error: unknown): never {
  throw codeOf(error) === 'not_media' ? unsupportedMedia() : error;
}

const unsupportedMedia = () =>
  new PermanentError('unsupported_media', 'The file is neither a picture nor a video that can be read');

async function thumbnailsOf(
  { config, ffmpeg }: App,
  still: Still,
  boxes: readonly Size[],
  format: OutputFormat,
  means: Means,
): Promise<{ source: Source; thumbnails: Thumbnail[] }> {
  const { makeThumbnails } = await import('../../media/image/thumbnails.ts');
  try {
    return await makeThumbnails(still.path, boxes, format, { ...means, ffmpeg, truncated: config.mediaTruncated });
  } catch (error) {
    // A broken answer of imagorvideo is no fault of the original.
    if (still.from !== 'imagorvideo' || !(error instanceof PermanentError)) throw error;
    throw new RetryableError(
      'imagorvideo_bad_answer',
      `imagorvideo sent a picture that cannot be used: ${error.message}`,
    );
  }
}

async function store(
  outputs: Outputs,
  made: Thumbnail[],
  boxes: readonly Size[],
  format: OutputFormat,
): Promise<Saved[]> {
  const saved: Saved[] = [];
  for (const [n, { path, width, height }] of made.entries()) {
    const { url, key, bytes } = await outputs.put(fileName(boxes[n]!, format), { path });
    saved.push({ url, key, width, height, bytes, format });
  }
  return saved;
}

async function save(tx: Queryable, { id, source_key }: Media, thumbnails: Saved[]): Promise<void> {
  const rows = await query(tx, sql.save_thumbnails, { id, source_key, thumbnails: JSON.stringify(thumbnails) });
  if (rows.length === 0)
    throw new RetryableError('media_changed', 'The row of media was deleted or got another original meanwhile');
}

async function tell(tx: Queryable, { kind, payload }: JobRow, result: unknown): Promise<void> {
  await query(tx, sql.tell_messages, { kind, payload: JSON.stringify(payload), result: JSON.stringify(result) });
}
