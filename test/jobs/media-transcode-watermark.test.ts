import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { ffmpeg } from '../support/clips.ts';
import { blue, createTranscodeRig, type TranscodeRig } from '../support/transcoding.ts';

// The watermark that media.transcode lays over a video.

let rig: TranscodeRig;
before(async () => {
  rig = await createTranscodeRig();
  await rig.put('blue.mp4', await blue());
});
after(() => rig.close());

/** The colour of one pixel of the first frame. */
async function pixel(url: string, [x, y]: readonly [number, number]): Promise<string> {
  const { programs } = await ffmpeg.capabilities();
  const args = `-v error -i ${url} -frames:v 1 -c:v png -f image2pipe -`.split(' ');
  const { stdout: frame } = await promisify(execFile)(programs.ffmpeg.path, args, { encoding: 'buffer' });
  const [r, g, b] = await sharp(frame).extract({ left: x, top: y, width: 1, height: 1 }).removeAlpha().raw().toBuffer();
  return [r! > 90 ? 'red' : '', g! > 90 ? 'green' : '', b! > 90 ? 'blue' : ''].filter(Boolean).join(' and ');
}

test('the watermark is where it is asked for, and nowhere else', async () => {
  // The middle of a mark of 64 x 32 pixels, 6 from the edges.
  const middles = {
    topleft: [38, 22],
    topright: [282, 22],
    bottomleft: [38, 158],
    bottomright: [282, 158],
    center: [160, 90],
  } as const;
  for (const position of Object.keys(middles) as (keyof typeof middles)[]) {
    const { mp4 } = await rig.made('blue.mp4', { formats: ['mp4'], watermark: { position }, thumbnails: false });
    for (const [place, middle] of Object.entries(middles))
      assert.equal(await pixel(mp4!.url, middle), place === position ? 'red' : 'blue', `${position}: ${place}`);
  }
});

test('a watermark out of storage has the size and the opacity that are asked for; without one there is none', async () => {
  const mark = sharp({ create: { width: 40, height: 40, channels: 4, background: '#ff0000' } });
  await rig.put('logo.webp', await mark.webp({ lossless: true }).toBuffer());
  const watermark = { key: 'logo.webp', position: 'topleft', opacity: 0.5, scale: 0.5 };
  const { mp4 } = await rig.made('blue.mp4', { formats: ['mp4'], watermark, thumbnails: false });
  assert.equal(await pixel(mp4!.url, [150, 150]), 'red and blue');
  assert.equal(await pixel(mp4!.url, [175, 10]), 'blue');
  const plain = await rig.made('blue.mp4', { formats: ['mp4'], thumbnails: false });
  assert.equal(await pixel(plain.mp4!.url, [282, 158]), 'blue');
});
