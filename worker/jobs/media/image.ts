import { join } from 'node:path';
import { z } from 'zod';
import { download } from '../../base/storage/download.ts';
import { withTempDir } from '../../base/temp.ts';
import type { Encoded } from '../../media/image/encode.ts';
import type { OutputFormat } from '../../media/image/target.ts';
import type { Source } from '../../media/image/open.ts';
import type { Outputs, Stored } from '../../media/outputs/outputs.ts';
import { job, minutes } from '../../queue/job.ts';
import {
  findOriginal,
  isResized,
  originalPayload,
  prepareOutputs,
  saveProcessed,
  truncatedOf,
  unlessGrowing,
} from './original/original.ts';

/** url, key, width, height, bytes and format are those of the picture to show, at most 2048 x 2048 pixels. */
export type ImageResult = StoredPicture & {
  thumbnail_url: string;
  /** At most 200 x 200 pixels, WebP. */
  thumbnail: StoredPicture;
  /** The formats asked for that the picture does not have already. */
  copies: StoredPicture[];
  thumbhash: string;
  /** The original is cut off, and this is what is left of it. */
  truncated?: true;
  /** Of the original; with the thumbhash, because only `metadata` is written to media and messages. */
  metadata: Source & { thumbhash: string };
};
type StoredPicture = Stored & { width: number; height: number; format: OutputFormat };

/**
 * Makes a picture in storage ready to be shown: upright, sRGB, at most 2048 x 2048 pixels, without metadata; and a
 * thumbnail. The original is not changed. media/image/optimise.ts decides which format becomes which.
 *
 * The original is named by `s3Key`, or by a row of media (file_id or `mediaId`) and its source_key. The row, and the
 * message that `messageId` names, are updated in the transaction that completes the job. media.status follows the jobs
 * that have a file_id.
 */
export default job({
  name: 'media.image',
  payload: originalPayload.extend({
    /** Copies beside the picture itself. AVIF takes seconds of CPU time. */
    formats: z.array(z.enum(['webp', 'avif'])).default([]),
  }),
  timeout: minutes(5),

  async run({ job: row, payload, app, signal, progress, waiting, aside, commit }) {
    const { optimise } = await import('../../media/image/optimise.ts');
    const { formats } = payload;
    const original = await findOriginal(app.db, row, payload);
    const { key } = original;

    return withTempDir(app.config.tempDir, async (dir) => {
      const to = join(dir, 'original');
      const { bytes, sha256 } = await download(app.storage, key, { to, maxBytes: app.config.mediaMaxBytes, signal });
      progress(20);

      const memory = app.memory.of({ waiting, aside });
      const means = { signal, memory, ffmpeg: app.ffmpeg, truncated: app.config.mediaTruncated };
      const made = await unlessGrowing(
        () => optimise(to, { formats }, means),
        () => isResized(app, key, bytes, signal),
      );
      progress(80);

      const outputs = await prepareOutputs(app, row, { key, sha256 }, { kind: 'image' }, signal);
      const [picture, thumbnail, ...copies] = await Promise.all([
        store(outputs, 'image', made.main),
        store(outputs, 'thumbnail', made.thumbnail),
        ...made.copies.map((copy) => store(outputs, 'image', copy)),
      ]);
      const { source, thumbhash } = made;
      const result: ImageResult = {
        ...picture,
        thumbnail_url: thumbnail.url,
        thumbnail,
        copies,
        thumbhash,
        ...truncatedOf(source),
        metadata: { ...source, thumbhash },
      };

      return commit(async (tx) => {
        await saveProcessed(tx, row, original, result);
        return result;
      });
    });
  },
});

async function store(outputs: Outputs, name: string, file: Encoded): Promise<StoredPicture> {
  const { width, height, format, data } = file;
  const stored = await outputs.put(`${name}.${format === 'jpeg' ? 'jpg' : format}`, data);
  return { ...stored, width, height, format };
}
