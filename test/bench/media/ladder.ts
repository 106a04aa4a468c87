import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConfig } from '../../../worker/base/config/config.ts';
import type { Ffmpeg } from '../../../worker/media/ffmpeg/ffmpeg.ts';
import { encodeLadder } from '../../../worker/media/video/ladder/ladder.ts';
import { rateOf } from '../../../worker/media/video/ladder/graph.ts';
import { rungsOf } from '../../../worker/media/video/ladder/rungs.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { packageStream } from '../../../worker/media/video/streaming/streaming.ts';
import { chooseStreams } from '../../../worker/media/ffmpeg/source.ts';
import type { Footage } from '../../support/footage.ts';
import { wallMs } from '../clock.ts';
import { interleave } from '../measure.ts';
import { atLeast, atMost, median, type Result } from '../result.ts';

const shown = { width: 1920, height: 1080 };
const { video: settings } = loadConfig({});

/**
 * What media.transcode does between download and upload, from 1080p to four sizes in segments, checked; against four
 * runs of ffmpeg, one a size, as most do it, and against the one command that an expert would write. Neither of these
 * cuts segments or looks at what came out. All memory it asks for.
 * @param source of 1080p
 */
export async function ladder(footage: Footage, source: string, runs: number): Promise<Result[]> {
  const dir = await footage.folder();
  const ours: number[] = [];
  const separate: number[] = [];
  const byHand: number[] = [];
  await interleave(runs, {
    'media.transcode': async () => {
      const folder = await footage.folder();
      await copyFile(source, join(folder, 'original'));
      ours.push(await wallMs(() => climb(footage.ffmpeg, folder)));
    },
    'ffmpeg, a run each': async () => {
      const each = async () => {
        for (const words of separateRuns(source)) await footage.run('rung.mp4', words);
      };
      separate.push(await wallMs(each));
    },
    'ffmpeg, one run': async () => void byHand.push(await wallMs(() => footage.run('audio.mp4', oneRun(source, dir)))),
  });
  return [
    atLeast(1.8, 'ladder of 4, videos an hour, against 4 runs', {
      ours: 3.6e6 / median(ours),
      anchor: 3.6e6 / median(separate),
      unit: '/h',
    }),
    atMost(1.1, 'ladder of 4, wall, against one command', { ours: median(ours), anchor: median(byHand), unit: 'ms' }),
  ];
}

async function climb(ffmpeg: Ffmpeg, dir: string): Promise<void> {
  const { signal } = new AbortController();
  const path = join(dir, 'original');
  const source = chooseStreams(await ffmpeg.probe(path, { dir, signal }));
  const memory = createMemoryGate({ bytes: 4e9, slots: 1 });
  const means = { ffmpeg, memory, settings, watermark: undefined, dir, signal };
  const made = await encodeLadder(path, source, { ...means, onlyTop: false, onProgress: () => {} });
  await packageStream(made, rateOf(source.video), { ffmpeg, dir, signal, listed: false });
}

const encoder = (bitrate: number) =>
  `-c:v libx264 -preset ${settings.preset} -crf 23 -maxrate ${bitrate} -bufsize ${bitrate * 2} ` +
  '-force_key_frames expr:gte(t,n_forced*2) -sc_threshold 0';

/** Each without the path that it writes to. */
const separateRuns = (source: string) =>
  rungsOf(shown).map(
    ({ width, height, bitrate }) => `-i ${source} -vf scale=${width}:${height} ${encoder(bitrate)} -c:a aac -b:a 128k`,
  );

/** Without the path that the sound is written to. */
function oneRun(source: string, dir: string): string {
  const rungs = rungsOf(shown);
  const chains = rungs.map(({ width, height }, n) => {
    const scaled = `[p${n}]scale=${width}:${height}`;
    return n < rungs.length - 1 ? `${scaled},split[r${n}][p${n + 1}]` : `${scaled}[r${n}]`;
  });
  const outputs = rungs.map(({ name, bitrate }, n) => `-map [r${n}] ${encoder(bitrate)} ${join(dir, name)}.mp4`);
  const graph = `[0:v]null[p0];${chains.join(';')}`;
  return `-i ${source} -filter_complex ${graph} ${outputs.join(' ')} -map 0:a -c:a aac -b:a 128k`;
}
