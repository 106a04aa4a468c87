import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findChromium, startChromium } from '../browser.ts';

/** RGBA of 8 bits, as it is seen: upright, sRGB. */
export type Seen = { width: number; height: number; data: Buffer };

/** A decoder that shares no code with ours, and that most people look through. */
export type Judge = {
  /** @throws what the browser says of a file that it cannot show */
  see(file: Buffer): Promise<Seen>;
  /** All frames of an animation. */
  seeFrames(file: Buffer, type: string): Promise<Seen[]>;
  close(): Promise<void>;
};

export const chromium = findChromium();

/** Answered by this test itself. Of HTTPS, since no other page may take an animation apart. */
const address = 'https://judge.test/';

/** More than any made picture has. */
const most = 4096;

export async function openJudge(path: string): Promise<Judge> {
  const browser = await startChromium(path);
  const page = await browser.newPage();
  const body = await readFile(join(import.meta.dirname, 'judge.html'), 'utf8');
  await page.route(address, (route) => route.fulfill({ contentType: 'text/html', body }));
  await page.goto(address);
  type Answer = { width: number; height: number; data: string };
  const seen = ({ width, height, data }: Answer): Seen => ({ width, height, data: Buffer.from(data, 'base64') });
  return {
    see: async (file) => seen(await page.evaluate<Answer>(`see('${file.toString('base64')}', ${most})`)),
    seeFrames: async (file, type) =>
      (await page.evaluate<Answer[]>(`seeFrames('${file.toString('base64')}', '${type}', ${most})`)).map(seen),
    close: () => browser.close(),
  };
}

export type Difference = {
  /** Of all samples, of 255. */
  mean: number;
  /** The mean of the worst place of 8 x 8 pixels. */
  worst: number;
};

/**
 * How far two pictures are from each other. Colours count as much as they are seen: nothing where the picture is
 * see-through.
 */
export function differenceOf(one: Seen, other: Seen): Difference {
  if (one.width !== other.width || one.height !== other.height) return { mean: 255, worst: 255 };
  const across = Math.ceil(one.width / 8);
  const [sums, counts] = [
    new Float64Array(across * Math.ceil(one.height / 8)),
    new Float64Array(across * Math.ceil(one.height / 8)),
  ];
  for (let place = 0; place < one.width * one.height; place++) {
    const [alpha, otherAlpha] = [one.data[place * 4 + 3]!, other.data[place * 4 + 3]!];
    let sum = Math.abs(alpha - otherAlpha);
    for (let n = place * 4; n < place * 4 + 3; n++)
      sum += Math.abs((one.data[n]! * alpha - other.data[n]! * otherAlpha) / 255);
    const tile = (Math.floor(place / one.width) >> 3) * across + ((place % one.width) >> 3);
    sums[tile]! += sum / 4;
    counts[tile]! += 1;
  }
  const total = sums.reduce((sum, value) => sum + value, 0);
  return { mean: total / (one.width * one.height), worst: Math.max(...sums.map((sum, tile) => sum / counts[tile]!)) };
}
