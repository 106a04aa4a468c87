import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RetryableError } from '../../../base/errors.ts';
import type { Ffmpeg } from '../../ffmpeg/ffmpeg.ts';
import type { Ladder } from '../ladder/ladder.ts';
import type { Rate } from '../ladder/graph.ts';
import { dashManifest } from './dash.ts';
import { bandwidthOf, masterPlaylist, playlistName, readPlaylist, type PictureTrack, type Track } from './hls.ts';
import { readInit } from './init.ts';

export const masterName = 'master.m3u8';
export const manifestName = 'manifest.mpd';

/** A folder of files that HLS and DASH share, with a master playlist and a manifest of these names. */
export type Stream = {
  dir: string;
  /** Names in the folder, such as `720p/00000.m4s`. */
  segments: string[];
  playlists: string[];
  renditions: Rendition[];
};

/** One of the sizes, with the measured bits per second of the picture alone. */
export type Rendition = {
  name: string;
  width: number;
  height: number;
  fps: number;
  codec: string;
  bandwidth: number;
  average_bandwidth: number;
};

type Options = {
  ffmpeg: Ffmpeg;
  dir: string;
  signal: AbortSignal;
  /** Whether the DASH manifest names each segment, because each gets an address of its own. */
  listed: boolean;
};

/** Seconds of a segment: two key frame intervals of the ladder. */
const segmentSeconds = 4;

/**
 * Cuts a ladder into fragmented MP4 segments, without encoding again, with playlists for HLS and a manifest for DASH.
 * @throws RetryableError `output_invalid`; what Ffmpeg throws; the signal's reason
 */
export async function packageStream(ladder: Ladder, rate: Rate, options: Options): Promise<Stream> {
  const dir = join(options.dir, 'stream');
  await mkdir(dir);
  await cut(ladder, dir, options);

  const names = [...ladder.rungs.map(({ name }) => name), ...(ladder.audio ? ['audio'] : [])];
  for (const [n, name] of names.entries()) await rename(join(dir, String(n)), join(dir, name));
  const tracks = await Promise.all(names.map((name) => readTrack(dir, name)));
  const sound = ladder.audio ? tracks.at(-1) : undefined;
  const pictures = ladder.rungs.map(({ width, height }, n) => ({ ...tracks[n]!, width, height, rate }));

  await writeFile(join(dir, masterName), masterPlaylist(pictures, sound));
  await writeFile(join(dir, manifestName), dashManifest(pictures, sound, options.listed));
  await checkStream(join(dir, masterName), ladder, options);
  return {
    dir,
    segments: tracks.flatMap(filesOf),
    playlists: names.map((name) => `${name}/${playlistName}`),
    renditions: pictures.map(renditionOf),
  };
}

const filesOf = ({ name, init, segments }: Track) =>
  [init, ...segments.map(({ file }) => file)].map((file) => `${name}/${file}`);

function renditionOf({ name, width, height, codec, rate, segments }: PictureTrack): Rendition {
  const { peak, average } = bandwidthOf(segments);
  const fps = Math.round((rate.above / rate.below) * 1_000) / 1_000;
  return { name, width, height, fps, codec, bandwidth: peak, average_bandwidth: average };
}

/** One folder per stream: 0, 1, ... */
async function cut({ rungs, audio }: Ladder, to: string, { ffmpeg, dir, signal }: Options): Promise<void> {
  const group = audio ? ',agroup:audio' : '';
  const streams = [...rungs.map((_, n) => `v:${n}${group}`), ...(audio ? ['a:0,agroup:audio'] : [])];
  const inputs = [...rungs.map(({ path }) => path), ...(audio ? [audio] : [])];
  await Promise.all(inputs.map((_, n) => mkdir(join(to, String(n)))));
  await ffmpeg.run(
    {
      inputs: inputs.map((path) => ({ path })),
      outputs: [
        {
          path: join(to, '%v', playlistName),
          options: [
            ...inputs.flatMap((_, n) => ['-map', `${n}:0`]),
            // Without this, each stream would be shifted by what it has before 0, with an edit list, which browsers
            // ignore.
            ...'-c copy -map_metadata -1 -fflags +bitexact -avoid_negative_ts disabled'.split(' '),
            ...`-f hls -hls_time ${segmentSeconds} -hls_playlist_type vod -hls_list_size 0`.split(' '),
            ...'-hls_segment_type fmp4 -hls_flags independent_segments'.split(' '),
            '-hls_segment_filename',
            join(to, '%v', '%05d.m4s'),
            '-var_stream_map',
            streams.join(' '),
          ],
        },
      ],
    },
    { dir, signal },
  );
}

async function readTrack(dir: string, name: string): Promise<Track> {
  try {
    const { init, segments } = readPlaylist(await readFile(join(dir, name, playlistName), 'utf8'));
    const sized = segments.map(async (segment) => ({
      ...segment,
      bytes: (await stat(join(dir, name, segment.file))).size,
    }));
    return { name, init, segments: await Promise.all(sized), ...readInit(await readFile(join(dir, name, init))) };
  } catch (error) {
    throw new RetryableError('output_invalid', `The segments of ${name} are invalid`, { cause: error });
  }
}

/** Checks the files before they are used: ffprobe opens all streams of the master playlist. */
async function checkStream(master: string, { rungs, audio }: Ladder, { ffmpeg, dir, signal }: Options): Promise<void> {
  const { video, audio: sound } = await ffmpeg.probe(master, { dir, signal, formats: 'hls,mov' });
  const found = video.map(({ width, height }) => `${width}x${height}`);
  const expected = rungs.map(({ width, height }) => `${width}x${height}`);
  if (expected.some((size) => !found.includes(size)) || (audio && sound.length === 0))
    throw new RetryableError(
      'output_invalid',
      `The playlists have ${found.join(', ')} instead of ${expected.join(', ')}`,
    );
}
