import assert from 'node:assert/strict';
import { cp, mkdtemp, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { profileOptions } from '../../../worker/media/ffmpeg/memory.ts';
import { ladderGraph, rateOf } from '../../../worker/media/video/ladder/graph.ts';
import { encodeRungsInPieces } from '../../../worker/media/video/ladder/pieces.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { areSame, eachPiece, encodeInPieces, timesOf, type Cut } from '../../../worker/media/video/pieces.ts';
import { chooseStreams } from '../../../worker/media/ffmpeg/source.ts';
import { slowIf } from '../../support/everything.ts';
import { aac, openFootage, picture, tone, type Footage } from '../../support/footage.ts';

// A long encode in pieces, between which others get its memory: what comes out is what one run makes.

let clips: Footage;
before(async () => void (clips = await openFootage()));
after(() => clips.close());
const { signal } = new AbortController();
const memory = createMemoryGate({ bytes: 280e6, slots: 2 });

const meansIn = (dir: string) => ({ ffmpeg: clips.ffmpeg, memory, dir, signal, bytes: 200e6, mostSeconds: 60 });

/** In the one folder that ffmpeg sees. */
async function opened(file: string, words: string) {
  const dir = await mkdtemp(join(clips.dir, 'pieces-'));
  const path = join(dir, 'original');
  await cp(await clips.make(file, words), path);
  const probe = await clips.ffmpeg.probe(path, { dir, signal });
  return { dir, path, source: chooseStreams(probe), means: meansIn(dir) };
}

/** The worst frame of `made` beside the original, as PSNR in decibels. */
async function worst(made: string, original: string): Promise<number> {
  const graph = '[0:v]settb=1/25,setpts=N[a];[1:v]settb=1/25,setpts=N[b];[a][b]psnr=stats_file=-';
  const words = `-i ${original} -lavfi ${graph} -f null`;
  const said = (await clips.read(made, words)).toString();
  return Math.min(...[...said.matchAll(/psnr_avg:(\S+)/g)].map(([, db]) => (db === 'inf' ? 100 : Number(db))));
}

const shown = picture('160x90', 12, 25);
const originals: [string, string, string][] = [
  [
    'H.264 with an open GOP',
    'a.mp4',
    `${shown} -c:v libx264 -preset veryfast -x264-params keyint=60:open-gop=1:bframes=3 -pix_fmt yuv420p`,
  ],
  [
    'of 30000/1001 frames a second, in Matroska',
    'b.mkv',
    `${picture('160x90', 12).replace('r=30', 'r=30000/1001')} -c:v mpeg4 -g 90 -q:v 3`,
  ],
  ['whose picture begins after its sound', 'c.mp4', `${tone(12)} -itsoffset 0.3 ${shown} -c:v mpeg4 -q:v 3 ${aac}`],
];
const x264 = '-c:v libx264 -preset ultrafast -crf 18'.split(' ');

for (const [index, [name, file, words]] of originals.entries()) {
  slowIf(index > 0)(`a video: ${name}`, async () => {
    const { dir, path, source, means } = await opened(file, words);
    const to = join(dir, 'made.mp4');
    const parts = {
      decoder: ['-threads', '1'],
      picture: ['-vf', 'scale=160:90,format=yuv420p', ...x264, ...profileOptions.pieces.encoder],
      sound: '-c:a aac -ac 2 -ar 48000'.split(' '),
      file: '-map_metadata -1 -t 61 -movflags +faststart -f mp4'.split(' '),
    };
    const { heard } = (await encodeInPieces(path, to, source, parts, means))!;
    if (source.audio) assert.ok(Math.abs(heard! - source.audio.duration!) < 0.1, `${heard} s of sound`);

    const made = await clips.ffmpeg.probe(to, { dir, signal });
    assert.equal(made.audio.length, source.audio ? 1 : 0);
    const [wanted, found] = [await timesOf(path, source.video.index, means), await timesOf(to, 0, means)];
    assert.ok(areSame(wanted, found));
    // Picture and sound are as far apart as they were.
    assert.ok(Math.abs(found[0]! - wanted[0]!) < 0.05, `begins at ${found[0]}, and not at ${wanted[0]}`);
    assert.ok((await worst(to, path)) > 25);
    assert.ok((await stat(to)).size > 10_000);
  });

  slowIf(index > 0)(`rungs of a ladder: ${name}`, async () => {
    const { dir, path, source, means } = await opened(file, words);
    const capabilities = await clips.ffmpeg.capabilities();
    const rungs = [
      { name: 'large', width: 160, height: 90, bitrate: 1e6 },
      { name: 'small', width: 80, height: 44, bitrate: 5e5 },
    ] as const;
    const graph = (from: string) => ladderGraph(source.video, rungs, { capabilities, mark: undefined, from });
    const keys = ['-force_key_frames', 'expr:gte(t,n_forced*2)', '-sc_threshold', '0'];
    const made = rungs.map((rung, n) => ({
      path: join(dir, `${rung.name}.mp4`),
      options: ['-map', `[r${n}]`, ...x264, ...keys, ...profileOptions.pieces.encoder],
    }));
    const parts = { decoder: ['-threads', '1'], mark: undefined, graph, keyFrameSeconds: 2 };
    const cuts = await encodeRungsInPieces(path, source, made, parts, means);
    assert.ok(cuts && cuts.length > 1, 'it was cut');

    // By one run.
    const whole = join(dir, 'whole.mp4');
    const outputs = [
      { path: whole, options: ['-map', '[r0]', ...x264, ...keys, '-f', 'mp4'] },
      { path: join(dir, 'other.mp4'), options: ['-map', '[r1]', ...x264, ...keys, '-f', 'mp4'] },
    ];
    await clips.ffmpeg.run({ inputs: [{ path }], filter: graph(`0:${source.video.index}`), outputs }, { dir, signal });
    const wanted = await timesOf(whole, 0, means);
    const { above, below } = rateOf(source.video);
    for (const { path: rung } of made) {
      const found = await timesOf(rung, 0, means);
      assert.equal(found.length, wanted.length);
      for (const [n, time] of found.entries()) assert.ok(Math.abs(time - (n * below) / above) < 0.001, `frame ${n}`);
    }
    assert.ok((await worst(made[0]!.path, whole)) > 25);
    assert.deepEqual(await keyFramesOf(made[0]!.path), await keyFramesOf(whole));
  });
}

async function keyFramesOf(path: string): Promise<number[]> {
  const said = (await clips.read(path, '-c copy -f framecrc')).toString();
  const lines = said.split('\n').filter((line) => line && !line.startsWith('#'));
  return lines.flatMap((line, n) => (/, S=|0x0$/.test(line) || !line.includes('F=0x0') ? [n] : []));
}

suite('the cuts', () => {
  async function cutsOf(seconds: number, step: number): Promise<Cut[]> {
    const cuts: Cut[] = [];
    const means = { memory, bytes: 1, signal };
    await eachPiece({ seconds, step }, means, async (cut, run) => {
      cuts.push(cut);
      await run(async () => {});
    });
    return cuts;
  }

  test('grow while pieces are quick, lie on the step, and leave nothing out', async () => {
    for (const step of [1001 / 30_000, 2]) {
      const cuts = await cutsOf(101.5, step);
      assert.ok(cuts.length > 2);
      for (const [n, { from, length }] of cuts.entries()) {
        assert.ok(Math.abs(from / step - Math.round(from / step)) < 1e-6);
        assert.equal(length === undefined, n === cuts.length - 1);
        if (length !== undefined) assert.ok(Math.abs(from + length - cuts[n + 1]!.from) < 1e-9);
      }
    }
  });

  test('of what is short are one', async () => {
    assert.deepEqual(await cutsOf(0.8, 0.04), [{ from: 0, length: undefined }]);
  });
});
