import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, DeploymentError, PermanentError } from '../../base/errors.ts';
import { download } from '../../base/storage/download.ts';
import type { Storage } from '../../base/storage/storage.ts';
import type { Input } from '../ffmpeg/ffmpeg.ts';
import type { Size } from '../ffmpeg/filters.ts';
import { sharp } from '../image/sharp.ts';
import { gapOf, placeOf, type Place, type Position } from './position.ts';

export type Watermark = {
  /** A picture, with its own transparency. */
  path: string;
  position: Position;
  /** 0 to 1, multiplied with the picture's own opacity. */
  opacity: number;
  /** The width of the watermark as a part of the video's width. */
  scale: number;
  sha256: string;
};

/** A picture in storage, and what differs from the settings. */
export type WatermarkRequest = {
  key?: string | undefined;
  position?: Position | undefined;
  opacity?: number | undefined;
  scale?: number | undefined;
};
export type WatermarkSettings = {
  enabled: boolean;
  /** A picture on this machine. */
  path: string | undefined;
  position: Position;
  opacity: number;
  scale: number;
};

const maxBytes = 20_000_000;

/**
 * The watermark that a job asks for, or that the settings put on every video whose job does not say.
 * @throws PermanentError `watermark_missing` for one that the job names; DeploymentError as `readOwn` does; what
 *   Storage throws
 */
export async function findWatermark(
  storage: Storage,
  settings: WatermarkSettings,
  asked: boolean | WatermarkRequest | undefined,
  { dir, signal }: { dir: string; signal: AbortSignal },
): Promise<Watermark | undefined> {
  if (!(asked ?? settings.enabled)) return undefined;
  const { key, position, opacity, scale } = typeof asked === 'object' ? asked : {};
  const appearance = {
    position: position ?? settings.position,
    opacity: opacity ?? settings.opacity,
    scale: scale ?? settings.scale,
  };
  if (key !== undefined) {
    const path = join(dir, 'watermark');
    const { sha256 } = await download(storage, key, { to: path, maxBytes, signal }).catch(missing);
    return { path, sha256, ...appearance };
  }
  const { path } = settings;
  if (!path) throw new PermanentError('watermark_missing', 'Set WATERMARK_PATH, or give options.watermark.key');
  return {
    path,
    sha256: createHash('sha256')
      .update(await readOwn(path))
      .digest('hex'),
    ...appearance,
  };
}

/**
 * Reads the file that WATERMARK_PATH names, and checks that it is a picture.
 * @throws DeploymentError `watermark_missing`, `watermark_broken`
 */
export async function readOwn(path: string): Promise<Buffer> {
  const picture = await readFile(path).catch((error: unknown) => {
    throw new DeploymentError(
      'watermark',
      'watermark_missing',
      `WATERMARK_PATH ${path} cannot be read (${codeOf(error)}): put the file there, or set it to another`,
    );
  });
  try {
    await sharp(picture, reading).stats();
  } catch (error) {
    const words = `WATERMARK_PATH ${path} is no PNG, JPEG, WebP, GIF or AVIF that can be read: put another file there`;
    throw new DeploymentError('watermark', 'watermark_broken', words, { cause: error });
  }
  return picture;
}

function missing(error: unknown): never {
  throw codeOf(error) === 'object_not_found'
    ? new PermanentError('watermark_missing', 'options.watermark.key names no object in storage')
    : error;
}

const reading = { limitInputPixels: 25_000_000, failOn: 'error', autoOrient: true } as const;

/**
 * Draws the watermark in the size and opacity for this video, as an input to lay over it.
 * @throws PermanentError `watermark_broken`
 */
export async function drawWatermark(
  watermark: Watermark,
  video: Size,
  dir: string,
): Promise<{ input: Input; place: Place }> {
  const { data, info } = await decode(watermark, video);
  for (let alpha = 3; alpha < data.length; alpha += 4) data[alpha] = Math.round(data[alpha]! * watermark.opacity);
  const { width, height } = info;
  const path = join(dir, `watermark-${video.width}.png`);
  await sharp(data, { raw: { width, height, channels: 4 } })
    .png()
    .toFile(path);
  const input = { path, formats: 'png_pipe', options: ['-f', 'png_pipe'] };
  return { input, place: placeOf(watermark.position, info, video) };
}

async function decode({ path, scale }: Watermark, video: Size) {
  // A mark that is taller than the video is made smaller, so that nothing of it is cut off.
  const height = Math.max(2, Math.floor(video.height - 2 * gapOf(video)));
  const box = { width: Math.max(2, Math.round(video.width * scale)), height };
  try {
    return await sharp(path, reading)
      .resize({ ...box, fit: 'inside' })
      .toColourspace('srgb')
      .ensureAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
  } catch (error) {
    const words = 'The watermark is no PNG, JPEG, WebP, GIF or AVIF that can be read';
    throw new PermanentError('watermark_broken', words, { cause: error });
  }
}
