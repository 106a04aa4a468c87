import { join } from 'node:path';
import { z } from 'zod';
import { download } from '../../base/storage/download.ts';
import { withTempDir } from '../../base/temp.ts';
import type { Encoded, OutputFormat } from '../../media/image/encode.ts';
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

/** url, key, width, height, bytes and format are those of the picture to show, 2048 x 2048 pixels at most. */
export type ImageResult = StoredPicture & {
  thumbnail_url: string;
  /** 200 x 200 pixels at most, WebP. */
  thumbnail: StoredPicture;
  /** Those of `formats` that the picture is not in already. */
  copies: StoredPicture[];
  thumbhash: string;
  /** The original is cut off, and this is what there is of it. */
  truncated?: true;
  /** Of the original; and the hash, since this is what reaches media and messages. */
  metadata: Source & { thumbhash: string };
};
type StoredPicture = Stored & { width: number; height: number; format: OutputFormat };

/**
 * Makes a picture in storage fit to be shown: upright, sRGB, 2048 x 2048 pixels at most, without its metadata; and a thumbnail of it.
 * The original stays as it is. Which format becomes which: media/image/optimise.ts.
 *
 * The job names the original by `s3Key`, or a row of media whose source_key it is, by file_id or `mediaId`. The row, and the message
 * that `messageId` names, are told in the transaction that completes the job; media.status follows the jobs that have a file_id.
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
