import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { ffmpeg } from '../support/clips.ts';
import { unlessEverything } from '../support/everything.ts';
import { blue, createTranscodeRig, type TranscodeRig } from '../support/transcoding.ts';

// The watermark that media.transcode lays over a video.

let rig: TranscodeRig;
before(async () => {
  rig = await createTranscodeRig();
  await rig.put('blue.mp4', await blue());
});
after(() => rig.close());

type Place = readonly [x: number, y: number];

/** The colours of pixels of the first frame. */
async function coloursOf(url: string, ...places: Place[]): Promise<string[]> {
  const { programs } = await ffmpeg.capabilities();
  const args = `-v error -i ${url} -frames:v 1 -c:v png -f image2pipe -`.split(' ');
  const { stdout: frame } = await promisify(execFile)(programs.ffmpeg.path, args, { encoding: 'buffer' });
  const { data, info } = await sharp(frame).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return places.map(([x, y]) => {
    const [r, g, b] = data.subarray((y * info.width + x) * 3);
    return [r! > 90 ? 'red' : '', g! > 90 ? 'green' : '', b! > 90 ? 'blue' : ''].filter(Boolean).join(' and ');
  });
}

// The middle of a mark of 64 x 32 pixels, 6 from the edges.
const middles = {
  topleft: [38, 22],
  topright: [282, 22],
  bottomleft: [38, 158],
  bottomright: [282, 158],
  center: [160, 90],
} as const;
const places = Object.keys(middles) as (keyof typeof middles)[];

for (const position of places)
  test(
    `the watermark is at ${position} where that is asked for, and nowhere else`,
    { skip: !['bottomright', 'center'].includes(position) && unlessEverything },
    async () => {
      const { mp4 } = await rig.made('blue.mp4', { formats: ['mp4'], watermark: { position }, thumbnails: false });
      assert.deepEqual(
        await coloursOf(mp4!.url, ...Object.values(middles)),
        places.map((place) => (place === position ? 'red' : 'blue')),
      );
    },
  );

test('a watermark from storage has the size and opacity that are asked for; without one there is none', async () => {
  const mark = sharp({ create: { width: 40, height: 40, channels: 4, background: '#ff0000' } });
  await rig.put('logo.webp', await mark.webp({ lossless: true }).toBuffer());
  const watermark = { key: 'logo.webp', position: 'topleft', opacity: 0.5, scale: 0.5 };
  const { mp4 } = await rig.made('blue.mp4', { formats: ['mp4'], watermark, thumbnails: false });
  assert.deepEqual(await coloursOf(mp4!.url, [150, 150], [175, 10]), ['red and blue', 'blue']);
  const plain = await rig.made('blue.mp4', { formats: ['mp4'], thumbnails: false });
  assert.deepEqual(await coloursOf(plain.mp4!.url, middles.bottomright), ['blue']);
});
