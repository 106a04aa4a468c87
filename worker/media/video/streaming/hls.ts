import type { Size } from '../../ffmpeg/filters.ts';
import type { Rate } from '../ladder/graph.ts';
import type { Init } from './init.ts';

/** A stream in segments, as its playlist lists them. */
export type Track = Init & {
  /** The name of its folder: `720p`, `audio`. */
  name: string;
  /** File names in the folder. */
  init: string;
  segments: Segment[];
};
export type Segment = { file: string; seconds: number; bytes: number };
export type PictureTrack = Track & Size & { rate: Rate };

/** @throws RangeError for a playlist that ffmpeg would not write */
export function readPlaylist(text: string): { init: string; segments: Omit<Segment, 'bytes'>[] } {
  const init = /^#EXT-X-MAP:URI="([^"]+)"$/m.exec(text)?.[1];
  const segments = [...text.matchAll(/^#EXTINF:([\d.]+),\n([^#\n]+)$/gm)].map(([, seconds, file]) => ({
    seconds: Number(seconds),
    file: file!,
  }));
  if (!init || segments.length === 0 || !text.includes('#EXT-X-ENDLIST'))
    throw new RangeError('a playlist without its end');
  return { init, segments };
}

/** Measured bits per second: the highest and the average. */
export type Bandwidth = { peak: number; average: number };

/**
 * RFC 8216, 4.1: the peak is the highest rate of any run of segments that lasts from 0.5 to 1.5 times the target
 * duration. So a short segment at the end does not count alone.
 */
export function bandwidthOf(segments: readonly Segment[]): Bandwidth {
  const target = Math.max(...segments.map(({ seconds }) => Math.round(seconds)), 1);
  const all = total(segments);
  const average = Math.round((all.bytes * 8) / all.seconds);
  let peak = average;
  for (let from = 0; from < segments.length; from++) {
    for (let to = from + 1; to <= segments.length; to++) {
      const { bytes, seconds } = total(segments.slice(from, to));
      if (seconds > target * 1.5) break;
      if (seconds >= target * 0.5) peak = Math.max(peak, Math.round((bytes * 8) / seconds));
    }
  }
  return { peak, average };
}

const total = (segments: readonly Segment[]) => ({
  bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0),
  seconds: segments.reduce((sum, { seconds }) => sum + seconds, 0),
});

/** Players begin with the first stream of the list: the smallest, which starts quickly everywhere. */
export function masterPlaylist(pictures: readonly PictureTrack[], sound: Track | undefined): string {
  const heard = sound ? bandwidthOf(sound.segments) : { peak: 0, average: 0 };
  const lines = ['#EXTM3U', '#EXT-X-VERSION:7', '#EXT-X-INDEPENDENT-SEGMENTS'];
  if (sound)
    lines.push(
      '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="Audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",' +
        `URI="${sound.name}/${playlistName}"`,
    );
  for (const picture of pictures.toReversed()) {
    const { peak, average } = bandwidthOf(picture.segments);
    const attributes = [
      `BANDWIDTH=${peak + heard.peak}`,
      `AVERAGE-BANDWIDTH=${average + heard.average}`,
      `CODECS="${[picture.codec, ...(sound ? [sound.codec] : [])].join(',')}"`,
      `RESOLUTION=${picture.width}x${picture.height}`,
      `FRAME-RATE=${(picture.rate.above / picture.rate.below).toFixed(3)}`,
      ...(sound ? ['AUDIO="audio"'] : []),
    ];
    lines.push(`#EXT-X-STREAM-INF:${attributes.join(',')}`, `${picture.name}/${playlistName}`);
  }
  return `${lines.join('\n')}\n`;
}

export const playlistName = 'playlist.m3u8';
