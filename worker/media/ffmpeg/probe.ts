import { z } from 'zod';
import { PermanentError } from '../../base/errors.ts';

/** What ffprobe reports of a file, in the units that we use. Absent numbers are undefined, never 0 or NaN. */
export type Probe = {
  /** Demuxer names, such as `mov,mp4,m4a,3gp,3g2,mj2`. */
  format: string;
  /** The container's duration in seconds: it may be wrong. */
  duration: number | undefined;
  bitrate: number | undefined;
  bytes: number;
  /** The number of streams that play for a while, of any kind: also subtitles, but no attached pictures or files. */
  streams: number;
  /** Without attached pictures. */
  video: VideoStream[];
  audio: AudioStream[];
  /** The names of codecs that this ffmpeg does not know, as far as it can name them. */
  unknown: { video: string[]; audio: string[] };
};

export type VideoStream = {
  index: number;
  codec: string;
  profile: string | undefined;
  level: number | undefined;
  pixelFormat: string | undefined;
  /** As coded, in pixels. */
  width: number;
  height: number;
  /** The width of a pixel divided by its height. */
  pixelAspect: number;
  /** Degrees clockwise by which it must be turned for watching: 0, 90, 180 or 270. */
  rotation: number;
  /** The size for watching: turned, with square pixels, before any rounding to even numbers. */
  shown: { width: number; height: number };
  /** The average frame rate, and the one of the stream's clock. They differ for a variable rate. */
  fps: number | undefined;
  clockFps: number | undefined;
  duration: number | undefined;
  bitrate: number | undefined;
  hdr: boolean;
  interlaced: boolean;
  alpha: boolean;
};

export type AudioStream = {
  index: number;
  codec: string;
  /** The container's name for the codec, such as `mp4a`. */
  tag: string;
  profile: string | undefined;
  channels: number;
  sampleRate: number;
  bitrate: number | undefined;
  duration: number | undefined;
  isDefault: boolean;
};

const number = z.coerce.number().optional().catch(undefined);
const text = z.string().optional().catch(undefined);

const shape = z.object({
  format: z.object({ format_name: z.string(), duration: number, bit_rate: number, size: number }),
  streams: z
    .array(
      z.object({
        index: z.number(),
        codec_type: text,
        codec_name: text,
        codec_tag_string: text,
        profile: text,
        level: number,
        pix_fmt: text,
        width: number,
        height: number,
        sample_aspect_ratio: text,
        avg_frame_rate: text,
        r_frame_rate: text,
        duration: number,
        bit_rate: number,
        color_transfer: text,
        field_order: text,
        channels: number,
        sample_rate: number,
        tags: z.record(z.string(), z.string()).optional().catch(undefined),
        disposition: z.record(z.string(), z.number()).optional().catch(undefined),
        side_data_list: z
          .array(z.looseObject({ rotation: number }))
          .optional()
          .catch(undefined),
      }),
    )
    .default([]),
});
type Stream = z.infer<typeof shape>['streams'][number];

/** The fields to ask ffprobe for: those of `shape`, so that a file cannot make the answer long. */
export const entries = [
  'format=format_name,duration,bit_rate,size',
  `stream=${Object.keys(shape.shape.streams.unwrap().element.shape).join(',')}`,
  'stream_tags=rotate,alpha_mode',
  'stream_disposition=default,attached_pic',
  'stream_side_data=rotation',
].join(':');

/** @throws PermanentError `media_corrupt` */
export function readProbe(json: string): Probe {
  const parsed = shape.safeParse(parse(json));
  if (!parsed.success) throw new PermanentError('media_corrupt', 'The file cannot be read as video or audio');
  const { format, streams: all } = parsed.data;
  const streams = all
    .filter((s) => !s.disposition?.['attached_pic'] && s.codec_type !== 'attachment')
    // Versions have different words for an unknown codec.
    .map((s) => (s.codec_name === 'none' || s.codec_name === 'unknown' ? { ...s, codec_name: undefined } : s))
    // For an ASF file, ffmpeg gives all streams the duration of the longest.
    .map((s) => (format.format_name === 'asf' ? { ...s, duration: undefined } : s));
  return {
    format: format.format_name,
    duration: positive(format.duration),
    bitrate: positive(format.bit_rate),
    bytes: format.size ?? 0,
    streams: streams.length,
    video: streams.filter((s) => s.codec_type === 'video').flatMap(videoOf),
    audio: streams.filter((s) => s.codec_type === 'audio').flatMap(audioOf),
    unknown: { video: unknownOf(streams, 'video'), audio: unknownOf(streams, 'audio') },
  };
}

const unknownOf = (streams: Stream[], type: string) =>
  streams
    .filter((s) => s.codec_type === type && !s.codec_name)
    .map(({ codec_tag_string = '' }) => nameOf(codec_tag_string));

/** If the container has no names of four letters, ffprobe shows zeros in brackets. */
const nameOf = (tag: string) => (/^[\w .-]{1,8}$/.test(tag) ? tag : 'no name');

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function videoOf(stream: Stream): VideoStream[] {
  const { width, height, codec_name } = stream;
  if (!width || !height || !codec_name) return [];
  const pixelAspect = ratio(stream.sample_aspect_ratio, ':') ?? 1;
  const rotation = rotationOf(stream);
  const upright = { width: width * pixelAspect, height };
  return [
    {
      index: stream.index,
      codec: codec_name,
      profile: stream.profile,
      level: positive(stream.level),
      pixelFormat: stream.pix_fmt,
      width,
      height,
      pixelAspect,
      rotation,
      shown: rotation % 180 === 0 ? upright : { width: upright.height, height: upright.width },
      fps: ratio(stream.avg_frame_rate, '/'),
      clockFps: ratio(stream.r_frame_rate, '/'),
      duration: positive(stream.duration),
      bitrate: positive(stream.bit_rate),
      // PQ and HLG. https://ffmpeg.org/ffmpeg-utils.html
      hdr: stream.color_transfer === 'smpte2084' || stream.color_transfer === 'arib-std-b67',
      interlaced: ['tt', 'bb', 'tb', 'bt'].includes(stream.field_order ?? ''),
      alpha: /^(yuva|rgba|bgra|argb|abgr|gbrap|ya)/.test(stream.pix_fmt ?? '') || stream.tags?.['alpha_mode'] === '1',
    },
  ];
}

/**
 * The highest sample rate that anybody records. Filters need memory per second of sound: with a false rate, all of it.
 */
const highestSampleRate = 768_000;

function audioOf(stream: Stream): AudioStream[] {
  const { channels, sample_rate, codec_name } = stream;
  // An unknown codec has no name, and cannot be decoded.
  if (!channels || !sample_rate || !codec_name || sample_rate > highestSampleRate) return [];
  return [
    {
      index: stream.index,
      codec: codec_name,
      tag: stream.codec_tag_string ?? '',
      profile: stream.profile,
      channels,
      sampleRate: sample_rate,
      bitrate: positive(stream.bit_rate),
      duration: positive(stream.duration),
      isDefault: stream.disposition?.['default'] === 1,
    },
  ];
}

/**
 * The display matrix counts counter-clockwise, the old tag clockwise. Players turn by quarters only. For an invalid
 * matrix, such as one of zeros, ffmpeg reports a number that is no angle.
 */
function rotationOf({ side_data_list, tags }: Stream): number {
  const matrix = side_data_list?.find(({ rotation }) => rotation !== undefined)?.rotation;
  const degrees = matrix === undefined ? Number(tags?.['rotate'] ?? 0) : -matrix;
  const quarters = Math.round(degrees / 90);
  return Math.abs(quarters) <= 4 && Math.abs(degrees - quarters * 90) <= 1 ? ((quarters + 4) % 4) * 90 : 0;
}

const positive = (value: number | undefined) =>
  value !== undefined && value > 0 && Number.isFinite(value) ? value : undefined;

function ratio(words: string | undefined, by: string): number | undefined {
  const [above, below] = (words ?? '').split(by).map(Number);
  return above && below ? positive(above / below) : undefined;
}
