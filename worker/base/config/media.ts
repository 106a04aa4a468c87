import { z } from 'zod';
import { memoryHere } from '../machine.ts';
import { group } from './group.ts';
import { bitrate, flag, fraction, integer, sizes, text } from './values.ts';

/** Pictures, videos and sound. */
export const media = group({
  settings: {
    MEDIA_MEMORY_MB: integer(128, 1_000_000).optional(),
    MEDIA_MAX_MB: integer(1, 1_000_000).default(2200),
    MEDIA_TRUNCATED: z.enum(['refuse', 'deliver']).default('refuse'),
    FFMPEG_PATH: text.optional(),
    FFPROBE_PATH: text.optional(),
    FFMPEG_PRESET: z
      .enum(['ultrafast', 'superfast', 'veryfast', 'faster', 'fast', 'medium', 'slow', 'slower', 'veryslow'])
      .default('veryfast'),
    VIDEO_BITRATE: bitrate(50_000, 500_000_000).optional(),
    AUDIO_BITRATE: bitrate(8_000, 320_000).default(128_000),
    VIDEO_MAX_SECONDS: integer(1, 1_000_000).default(14_400),
    WATERMARK_ENABLED: flag.optional(),
    WATERMARK_PATH: text.optional(),
    WATERMARK_POSITION: z.enum(['topleft', 'topright', 'bottomleft', 'bottomright', 'center']).default('bottomright'),
    WATERMARK_OPACITY: fraction.default(0.8),
    WATERMARK_SCALE: fraction.default(0.15),
    THUMBNAIL_SIZES: sizes.default([
      { width: 150, height: 150 },
      { width: 320, height: 320 },
      { width: 640, height: 640 },
    ]),
  },
  faults: (_, env) =>
    env?.WATERMARK_ENABLED && !env.WATERMARK_PATH
      ? ['WATERMARK_PATH: is missing, while WATERMARK_ENABLED is true']
      : [],
  read: (env, { production, searchPath }) => ({
    mediaMemoryBytes: (env.MEDIA_MEMORY_MB ?? usualMediaMemory()) * 1_000_000,
    /** For one picture. By default 280 MB: a picture that needs more is probably an attack. */
    pictureMemoryBytes: (env.MEDIA_MEMORY_MB ?? 280) * 1_000_000,
    mediaMaxBytes: env.MEDIA_MAX_MB * 1_000_000,
    /** What to do with an original that is cut off: fail the job, or process what is there. */
    mediaTruncated: env.MEDIA_TRUNCATED,
    ffmpeg: {
      ...(env.FFMPEG_PATH ? { ffmpeg: env.FFMPEG_PATH } : {}),
      ...(env.FFPROBE_PATH ? { ffprobe: env.FFPROBE_PATH } : {}),
      searchPath,
      bundled: !production,
    },
    video: {
      preset: env.FFMPEG_PRESET,
      /** The highest bit rate, in bits per second. Undefined: by the size of the picture. */
      videoBitrate: env.VIDEO_BITRATE,
      audioBitrate: env.AUDIO_BITRATE,
      maxSeconds: env.VIDEO_MAX_SECONDS,
    },
    watermark: {
      enabled: env.WATERMARK_ENABLED ?? false,
      path: env.WATERMARK_PATH,
      position: env.WATERMARK_POSITION,
      opacity: env.WATERMARK_OPACITY,
      /** The width of the watermark as a part of the video's width. */
      scale: env.WATERMARK_SCALE,
    },
    thumbnailSizes: env.THUMBNAIL_SIZES,
  }),
});

/** In megabytes: what 8K video needs at most; on a machine of 512 MB, a little more than half. */
const usualMediaMemory = () => (memoryHere().bytes >= 2e9 ? 700 : 280);
