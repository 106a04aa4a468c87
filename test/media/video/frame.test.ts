import assert from 'node:assert/strict';
import { copyFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import sharp from 'sharp';
import { takeFrame } from '../../../worker/media/video/frame.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { h264, openFootage, picture, turn, type Footage } from '../../support/footage.ts';

let clips: Footage;
before(async () => {
  clips = await openFootage();
});
after(() => clips.close());

async function frameOf(path: string, { at = 1, side = 640 } = {}) {
  const { ffmpeg, dir: parent } = clips;
  const { signal } = new AbortController();
  const { video, duration } = await ffmpeg.probe(path, { dir: parent, signal });
  const dir = await clips.folder();
  // The folder of a run is all that ffmpeg sees.
  const own = `${dir}/original`;
  await copyFile(path, own);
  const box = { width: side, height: side };
  const memory = createMemoryGate({ bytes: 1e9, slots: 1 });
  const frame = await takeFrame(own, { ffmpeg, video: video[0]!, duration, at, box, dir, signal, memory });
  const { format, width, height, hasAlpha } = await sharp(frame.path).metadata();
  assert.deepEqual([format, width, height, hasAlpha], ['png', frame.width, frame.height, false]);
  const { dominant } = await sharp(frame.path).stats();
  const { r, g, b } = dominant;
  const colour = r > 200 && g > 200 ? 'white' : r > 150 ? 'red' : b > 150 ? 'blue' : g > 100 ? 'green' : 'black';
  return { ...frame, colour };
}

/** Stripes of one colour, which is not blank, one second each. */
const striped = (colours: string[]) => {
  const inputs = colours.map((colour) => `-f lavfi -i color=${colour}:s=320x180:r=10:d=1`).join(' ');
  const drawn = colours.map((_, index) => `[${index}]drawbox=w=20:h=180:color=gray:t=20[${index}s]`).join(';');
  const joined = colours.map((_, index) => `[${index}s]`).join('');
  return `${inputs} -filter_complex ${drawn};${joined}concat=n=${colours.length} ${h264} -g 100`;
};

test('a frame is exactly that of the moment, though the last key frame is long before', async () => {
  const path = await clips.make('a.mp4', striped(['blue', 'red', 'blue']));
  assert.equal((await frameOf(path, { at: 1 })).colour, 'red');
  assert.equal((await frameOf(path, { at: 0.9 })).colour, 'blue');
});

test('of a video shorter than twice the time it is the middle', async () => {
  const path = await clips.make('a.mp4', striped(['blue', 'red']));
  assert.equal((await frameOf(path, { at: 30 })).colour, 'red');
});

test('where it is blank another is taken, and where all are blank that one', async () => {
  const black = '-f lavfi -i color=black:s=320x180:r=10:d=4';
  const path = await clips.make('a.mp4', `${black} ${picture('320x180', 2, 10)} -filter_complex [0][1]concat ${h264}`);
  const { channels } = await sharp((await frameOf(path, { at: 5 })).path).stats();
  assert.ok(channels[0]!.stdev > 4);
  assert.equal((await frameOf(await clips.make('a.mp4', `${black} ${h264}`))).colour, 'black');
});

test('it fits into its box, turned upright, with square pixels', async () => {
  const path = await clips.make('a.mp4', `${picture('320x180', 0.5)} -vf setsar=2 ${h264}`);
  const { width, height } = await frameOf(path, { side: 200 });
  assert.deepEqual([width, height], [200, 56]);
  const turned = await clips.change(path, (bytes) => turn(bytes, [0, 1, -1, 0]));
  const upright = await frameOf(turned, { side: 200 });
  assert.deepEqual([upright.width, upright.height], [56, 200]);
});

test('one of a video with a single frame is that', async () => {
  const path = await clips.make('a.mp4', `${picture('320x180', 1)} -frames:v 1 ${h264}`);
  const { width, height } = await frameOf(path);
  assert.deepEqual([width, height], [320, 180]);
});

test('one of a video with a single frame of unknown length is that', async () => {
  const path = await clips.make('a.webm', `${picture('320x180', 1)} -frames:v 1 -c:v libvpx`);
  const silent = await clips.change(path, (bytes) => {
    // DefaultDuration becomes Void. RFC 9559, 5.1.4.1.13
    bytes.write('ec86', bytes.indexOf('23e383', 'hex'), 'hex');
    return bytes;
  });
  const { width, height } = await frameOf(silent);
  assert.deepEqual([width, height], [320, 180]);
});
