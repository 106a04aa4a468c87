import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { promisify } from 'node:util';
import { processAudio } from '../../../worker/media/audio/audio.ts';
import { codeOf } from '../../../worker/base/errors.ts';
import { isOld } from '../../../worker/media/ffmpeg/age.ts';
import { createFfmpeg } from '../../../worker/media/ffmpeg/ffmpeg.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { processVideo } from '../../../worker/media/video/video.ts';
import { generate } from '../../support/clips.ts';
import { unlessEverything } from '../../support/everything.ts';
import { ffmpegs } from '../../support/ffmpegs.ts';
import { quickSettings as settings } from '../../support/quick-settings.ts';

// What is made lasts as long as its original, within two frames: by another ffmpeg than the one that made it, where
// there are two.

const { config } = ffmpegs[0]!;
const judge = ffmpegs.at(-1)!.programs.ffmpeg.path;
const ffmpeg = createFfmpeg({ ...config, sandbox: 'none' });
const memory = createMemoryGate({ bytes: 1e9, slots: 2 });
let dir: string;
before(async () => void (dir = await mkdtemp(join(tmpdir(), 'lengths-'))));
after(() => rm(dir, { recursive: true }));

async function original(bytes: Buffer) {
  const work = await mkdtemp(join(dir, 'work-'));
  const path = join(work, 'original');
  await writeFile(path, bytes);
  return {
    path,
    options: { ffmpeg, memory, settings, watermark: undefined, dir: work, signal: new AbortController().signal },
  };
}

async function judged(path: string, words: string): Promise<Buffer> {
  const args = ['-v', 'error', '-nostdin', '-i', path, ...words.split(' '), 'pipe:1'];
  return (await promisify(execFile)(judge, args, { encoding: 'buffer', maxBuffer: 1e9 })).stdout;
}
/** Seconds of sound that come out of the decoder. */
const heard = async (path: string) => (await judged(path, '-map 0:a:0 -ac 1 -ar 48000 -f s16le')).length / 96_000;

/** Seconds from the first picture to the end of the last. */
async function seen(path: string): Promise<number> {
  const lines = (await judged(path, '-map 0:v:0 -vsync passthrough -f framecrc')).toString().split('\n');
  const [above, below] = /#tb 0: (\d+)\/(\d+)/.exec(lines.join('\n'))!.slice(1).map(Number) as [number, number];
  const frames = lines.filter((line) => line.startsWith('0,')).map((line) => line.split(',').map(Number));
  const times = frames.map(([, , pts]) => (pts! * above) / below);
  const step = (times.at(-1)! - times[0]!) / Math.max(1, times.length - 1);
  return times.at(-1)! - times[0]! + step;
}

const near = (what: string, made: number, was: number, by: number) =>
  assert.ok(Math.abs(made - was) <= by, `${what}: ${made.toFixed(3)} s of ${was.toFixed(3)} s`);

/** Two frames of the coarsest codec of sound, of 2048 samples at 44.1 kHz; two of the picture. */
const frames = { sound: 0.093, picture: 2 / 25 };

const tone = '-f lavfi -i sine=d=3.37:f=440:r=44100 -ac 2';
const sounds: [name: string, words: string][] = [
  ['a.m4a', `${tone} -c:a aac`],
  ['a.mp3', `${tone} -c:a libmp3lame -q:a 4`],
  ['a.opus', `${tone} -c:a libopus`],
  ['a.wav', `${tone} -c:a pcm_s24le`],
  ['float.wav', `${tone} -c:a pcm_f32le`],
  ['law.wav', `${tone} -c:a pcm_mulaw -ar 8000`],
  ['adpcm.wav', `${tone} -c:a adpcm_ima_wav`],
  ['a.flac', `${tone} -c:a flac`],
  ['constant.mp3', `${tone} -c:a libmp3lame -b:a 128k -write_xing 0`],
  ['a.aac', `${tone} -c:a aac`],
  ['alac.m4a', `${tone} -c:a alac`],
  ['fragments.m4a', `${tone} -c:a aac -movflags frag_keyframe+empty_moov -frag_duration 700000`],
  ['a.ogg', `${tone} -c:a libvorbis`],
  ['flac.ogg', `${tone} -c:a flac`],
  ['a.mka', `${tone} -c:a libopus`],
  ['live.webm', `${tone} -c:a libopus -live 1`],
  ['ac3.mka', `${tone} -c:a ac3`],
  ['a.caf', `${tone} -c:a pcm_s16be`],
  ['a.aiff', `${tone} -c:a pcm_s16be`],
  ['a.w64', `${tone} -c:a pcm_s16le`],
  ['a.wma', `${tone} -c:a wmav2`],
  ['a.ts', `${tone} -c:a mp2`],
  ['mp3.mp4', `${tone} -c:a libmp3lame`],
];
const always = new Set(['a.m4a', 'a.mp3', 'a.opus', 'a.mp4', 'late.mkv', 'a.webm']);
const skipped = (name: string) => ({ skip: !always.has(name) && unlessEverything });

/** npm's ffprobe crashes at most MPEG-TS, and the error says so. */
async function unlessOld(work: Promise<void>): Promise<void> {
  await work.catch(async (error: unknown) => {
    if (codeOf(error) !== 'ffmpeg_too_old' || !isOld(await ffmpeg.capabilities())) throw error;
  });
}

suite('a sound', () => {
  const lasts = async (bytes: Buffer) => {
    const { path, options } = await original(bytes);
    const made = await processAudio(path, options);
    const was = await heard(path);
    near('the MP3', await heard(made.path), was, frames.sound);
    near('as it is told', made.metadata.duration, was, frames.sound);
  };
  for (const [name, words] of sounds)
    test(name, skipped(name), async () => unlessOld(lasts(await generate(name, words))));
});

const picture = '-f lavfi -i testsrc2=s=160x90:r=25:d=3';
const both = `${picture} -f lavfi -i sine=d=3.1:r=44100`;
const h264 = '-c:v libx264 -preset ultrafast -pix_fmt yuv420p';
const videos: [name: string, words: string][] = [
  ['a.mp4', `${both} -c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac`],
  ['late.mkv', `${picture} -itsoffset 0.7 -f lavfi -i sine=d=2:r=44100 ${h264} -c:a libopus`],
  ['a.webm', `${both} -c:v libvpx -deadline realtime -c:a libvorbis`],
  ['live.webm', `${both} -c:v libvpx -deadline realtime -c:a libopus -live 1`],
  ['mute.mp4', `${picture} ${h264}`],
  ['late-picture.mp4', `-itsoffset 0.5 ${picture} -f lavfi -i sine=d=3:r=44100 ${h264} -c:a aac`],
  ['fragments.mp4', `${both} ${h264} -g 25 -c:a aac -movflags frag_keyframe+empty_moov+default_base_moof`],
  ['open.mp4', `${both} -c:v libx264 -preset veryfast -bf 3 -x264-params open-gop=1 -g 20 -pix_fmt yuv420p -c:a aac`],
  ['a.mov', `${both} -c:v mpeg4 -c:a pcm_s16le`],
  ['prores.mov', `${both} -c:v prores_ks -c:a pcm_s24le`],
  ['hevc.mp4', `${both} -c:v libx265 -preset ultrafast -x265-params log-level=none -c:a aac`],
  ['vp9.webm', `${both} -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus`],
  ['a.avi', `${both} -c:v mpeg4 -bf 2 -c:a libmp3lame`],
  ['motion.avi', `${both} -c:v mjpeg -c:a pcm_s16le`],
  ['a.flv', `${both} -c:v flv -c:a libmp3lame`],
  ['h264.flv', `${both} ${h264} -c:a aac`],
  ['a.wmv', `${both} -c:v wmv2 -c:a wmav2`],
  ['a.ts', `${both} ${h264} -c:a aac`],
  ['a.mpg', `${both} -c:v mpeg2video -c:a mp2`],
  ['a.3gp', `${picture.replace('160x90', '176x144')} -f lavfi -i sine=d=3.1:r=44100 -c:v h263 -c:a aac`],
  ['uneven.mkv', `${both} -vf select=not(between(mod(n\\,10)\\,3\\,5)) -vsync vfr ${h264} -c:a aac`],
  ['slow.mp4', `-f lavfi -i testsrc2=s=160x90:r=240:d=1 -f lavfi -i sine=d=1:r=44100 ${h264} -c:a aac`],
];

suite('a video', () => {
  const lasts = async (bytes: Buffer, name: string) => {
    const { path, options } = await original(bytes);
    const made = await processVideo(path, options);
    near('the picture', await seen(made.path), await seen(path), name === 'uneven.mkv' ? 0.2 : frames.picture);
    if (made.metadata.audio_codec) near('the sound', await heard(made.path), await heard(path), frames.sound);
  };
  for (const [name, words] of videos)
    test(name, skipped(name), async () => unlessOld(lasts(await generate(name, words), name)));

  test('one whose edit list leaves out its beginning', { skip: unlessEverything }, async () => {
    const whole = join(dir, 'whole.mp4');
    const cut = join(dir, 'cut.mp4');
    await writeFile(whole, await generate('whole.mp4', `${both} ${h264} -g 75 -c:a aac`));
    const { programs } = ffmpegs[0]!;
    await promisify(execFile)(programs.ffmpeg.path, ['-v', 'error', '-ss', '1.2', '-i', whole, '-c', 'copy', cut]);
    await lasts(await readFile(cut), 'cut.mp4');
  });
});
