import { join } from 'node:path';
import { z } from 'zod';
import { withTempDir } from '../../base/temp.ts';
import type { Stored } from '../../media/outputs/outputs.ts';
import type { VideoMetadata } from '../../media/video/metadata.ts';
import type { ProcessedVideo } from '../../media/video/video.ts';
import { job, minutes } from '../../queue/job.ts';
import { findOriginal, originalPayload, prepareOutputs, saveProcessed, withOriginal } from './original/original.ts';
import { watermarkOption } from './original/watermark.ts';

/** url, key, bytes, width, height and duration are those of the MP4. */
export type VideoResult = Stored & {
  width: number;
  height: number;
  duration: number;
  mode: ProcessedVideo['mode'];
  thumbnail_url: string;
  /** A JPEG, at most 640 x 640 pixels. */
  thumbnail: Stored & { width: number; height: number };
  /** The original is cut off, and this is what was left of it. */
  truncated?: true;
  metadata: VideoMetadata;
};

/**
 * Makes a video in storage playable everywhere: MP4 of H.264 and AAC, at most 1920 pixels on the longer side, which
 * plays while it loads, without metadata; and a thumbnail, the frame at one second. The original is not changed.
 */
export default job({
  name: 'media.video',
  payload: originalPayload.extend({
    options: z.object({ watermark: watermarkOption }).prefault({}),
  }),
  // For the longest video that is accepted, on a slow machine.
  timeout: minutes(8 * 60),

  async run({ job: row, payload, app, signal, progress, waiting, aside, commit }) {
    const { ffmpeg, storage, config } = app;
    const { findWatermark } = await import('../../media/video/watermark.ts');
    const { processVideo } = await import('../../media/video/video.ts');
    const memory = app.memory.of({ waiting, aside });
    const original = await findOriginal(app.db, row, payload);

    return withTempDir(config.tempDir, async (dir) => {
      const path = join(dir, 'original');
      const { key } = original;
      const asked = payload.options.watermark;
      const watermark = await findWatermark(storage, config.watermark, asked, { dir, signal });
      const made = await withOriginal(app, key, { path, signal }, async () => {
        progress(5);
        const settings = { ...config.video, truncated: config.mediaTruncated };
        const onProgress = (share: number) => progress(5 + share * 85);
        return processVideo(path, { ffmpeg, memory, settings, watermark, dir, signal, onProgress });
      });
      progress(90);

      const recipe = {
        kind: 'video',
        settings: config.video,
        watermark: watermark && { ...watermark, path: undefined },
      };
      const outputs = await prepareOutputs(app, row, { key, sha256: made.sha256 }, recipe, signal);
      const thumbnail = await outputs.put('thumbnail.jpg', made.poster.data);
      const video = await outputs.put('video.mp4', { path: made.path });

      const { width, height, duration, mode, poster, truncated, metadata } = made;
      const result: VideoResult = {
        ...video,
        width,
        height,
        duration,
        mode,
        thumbnail_url: thumbnail.url,
        thumbnail: { ...thumbnail, width: poster.width, height: poster.height },
        ...(truncated ? { truncated } : {}),
        metadata,
      };
      return commit(async (tx) => {
        await saveProcessed(tx, row, original, result);
        return result;
      });
    });
  },
});
