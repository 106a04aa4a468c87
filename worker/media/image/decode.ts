import { rm } from 'node:fs/promises';
import type { ResizeOptions, Sharp } from 'sharp';
import type { Ffmpeg } from '../ffmpeg/ffmpeg.ts';
import { sharp } from './sharp.ts';
import { chooseCoding, type Coding } from './colour.ts';
import { avifToPng } from './heif/avif.ts';
import { shownSize, type Heif, type Size } from './heif/header.ts';
import { heicToPng } from './heif/heic.ts';
import { timeoutSeconds } from './judge.ts';
import { inputOf, openPicture, readOptions, type Picture } from './open.ts';
import { toSrgb } from './tone.ts';
import { decodeWhole, type Truncated } from './whole.ts';

/** A decoded picture: upright, 8-bit sRGB or grey, with alpha if it has any. */
export type Pixels = { data: Buffer; info: { width: number; height: number; channels: 1 | 2 | 3 | 4 } };

type Decoded = { made: Pixels; truncated: boolean };
type Options = { box: Size; signal: AbortSignal; truncated: Truncated };

/** Decodes with sharp, no larger than the box. @throws as decodeWhole does; the signal's reason */
export async function decode(picture: Picture, { box, signal, truncated }: Options): Promise<Decoded> {
  const { path, page, layout, profile, coding, heif, turn } = picture;
  const input = await inputOf(path, heif);
  return decodeWhole(picture, { truncated, frames: 1 }, async (failOn) => {
    const pipeline = sharp(input, { ...readOptions, failOn, page, ignoreIcc: coding !== undefined })
      .resize(within(turn && turn.angle % 180 !== 0 ? { width: box.height, height: box.width } : box))
      .timeout({ seconds: timeoutSeconds });
    // sharp mirrors before it rotates, in whichever order the calls stand.
    if (turn) pipeline.rotate(turn.flop ? 360 - turn.angle : turn.angle).flop(turn.flop);
    if (coding) return decodeCoded(pipeline, layout.deep, coding, signal);
    pipeline.toColourspace('srgb');
    // sharp converts a 16-bit picture with a profile to P3 to work on, and does not convert it back by itself.
    if (layout.deep && layout.channels >= 3 && profile) pipeline.withIccProfile('srgb', { attach: false });
    return pipeline.raw().toBuffer({ resolveWithObject: true });
  });
}

/** Decodes without colour conversion by libvips, then converts by `coding`. */
async function decodeCoded(pipeline: Sharp, deep: boolean, coding: Coding, signal: AbortSignal): Promise<Pixels> {
  const { data, info } = await pipeline
    .toColourspace(deep ? 'rgb16' : 'srgb')
    .raw({ depth: deep ? 'ushort' : 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const channels = info.channels as 3 | 4;
  const samples = deep ? new Uint16Array(data.buffer, data.byteOffset, data.length / 2) : data;
  return { data: await toSrgb({ data: samples, channels }, coding, signal), info: { ...info, channels } };
}

/** Decodes a HEIC to a PNG beside it, which libvips then reads line by line. @throws as `decode` and heicToPng do */
export async function decodeHeic(picture: Picture, memoryBytes: number, options: Options): Promise<Decoded> {
  const { box, signal } = options;
  return viaPng(picture, options, (to) => heicToPng(picture, to, box, { memoryBytes, signal }));
}

/** Decodes an AVIF that isPlain with ffmpeg. @throws as `decode` and avifToPng do */
export async function decodeAvif(picture: Picture, ffmpeg: Ffmpeg, options: Options): Promise<Decoded> {
  const { path, heif } = picture as Picture & { heif: Heif };
  const { box, signal } = options;
  const shown = shownSize(heif);
  const scale = Math.min(1, box.width / shown.width, box.height / shown.height);
  const size = {
    width: Math.max(1, Math.round(heif.crop.width * scale)),
    height: Math.max(1, Math.round(heif.crop.height * scale)),
  };
  return viaPng(picture, options, async (to) => {
    await avifToPng(path, heif, to, size, { ffmpeg, signal });
    return heif.coding;
  });
}

/** @param write returns the coding of the samples, for a picture whose profile does not give it */
async function viaPng(
  { path, heif, profile }: Picture,
  options: Options,
  write: (to: string) => Promise<Coding | undefined>,
): Promise<Decoded> {
  const png = `${path}.png`;
  try {
    const coding = await write(png);
    const grey = heif!.samples === 1;
    const rgb = chooseCoding(coding && { ...coding, full: true }, profile, { format: 'heic', grey });
    return await decode({ ...(await openPicture(png)), coding: rgb, turn: heif!.turn }, options);
  } finally {
    await rm(png, { force: true });
  }
}

export function within({ width, height }: Size): ResizeOptions {
  return { width, height, fit: 'inside', withoutEnlargement: true };
}
