import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PermanentError } from '../../base/errors.ts';
import type { Ffmpeg, Task } from '../ffmpeg/ffmpeg.ts';
import { soundMemory } from '../ffmpeg/memory.ts';
import type { AudioStream } from '../ffmpeg/probe.ts';
import type { MemoryGate } from '../memory.ts';
import {
  checkDecoded,
  checkReadable,
  decoding,
  judgeEnd,
  openMedia,
  type Media,
  type TruncatedPolicy,
} from '../ffmpeg/verdict.ts';
import { chooseAudio, noneOf } from '../ffmpeg/source.ts';
import { createWaveform } from './waveform.ts';

export type AudioOptions = {
  ffmpeg: Ffmpeg;
  memory: MemoryGate;
  settings: { audioBitrate: number; maxSeconds: number; truncated: TruncatedPolicy };
  /** A private folder for what is made. */
  dir: string;
  signal: AbortSignal;
  /** Called with the part that is done, 0 to 1. */
  onProgress?: (share: number) => void;
};

export type ProcessedAudio = {
  /** An MP3 without metadata. */
  path: string;
  bytes: number;
  /** 100 whole numbers from 0 to 100. */
  waveform: number[];
  /** Whether the original is cut off, and this is what was left of it. */
  truncated: boolean;
  /** Of the original. */
  metadata: {
    format: string;
    codec: string;
    /** The true length in seconds, whatever the header says. */
    duration: number;
    bytes: number;
    bitrate: number | null;
    channels: number;
    sample_rate: number;
  };
};

/**
 * Makes an MP3 and a waveform of any sound, also that of a video. One process does both, from one decode.
 * @throws PermanentError `not_media`, `no_audio_stream`, `unsupported_codec`, `audio_too_long`, `media_truncated`,
 *   `media_corrupt`, `ffmpeg_too_old`; what Ffmpeg throws; the signal's reason
 */
export async function processAudio(path: string, options: AudioOptions): Promise<ProcessedAudio> {
  const { dir, settings } = options;
  const media = await openMedia(path, 'audio', options);
  const { probe, format } = media;
  const audio = chooseAudio(probe);
  if (!audio) throw noneOf('audio', probe);
  await checkReadable(audio, options.ffmpeg);
  const { said, expected } = await lengthOf(media, audio, options);

  const to = join(dir, 'audio.mp3');
  const { stderr, duration, waveform } = await decoding(
    media,
    { kind: 'audio', index: audio.index },
    encode(path, to, audio, expected, options),
    options,
  );
  if (duration > settings.maxSeconds) throw tooLong(settings);
  const truncated = await judgeEnd(media, stderr, [{ said, found: duration }], settings.truncated);
  // For formats whose duration is guessed, there is nothing to compare with.
  if (!isEstimate(probe.format) || duration === 0)
    await checkDecoded(media, { kind: 'audio', index: audio.index, said, found: duration, needed: true }, options);
  return {
    path: to,
    bytes: (await stat(to)).size,
    waveform,
    truncated,
    metadata: {
      format,
      codec: audio.codec,
      duration: Math.round(duration * 1_000) / 1_000,
      bytes: probe.bytes,
      bitrate: audio.bitrate ?? probe.bitrate ?? null,
      channels: audio.channels,
      sample_rate: audio.sampleRate,
    },
  };
}

const tooLong = ({ maxSeconds }: AudioOptions['settings']) =>
  new PermanentError('audio_too_long', `The sound lasts more than ${maxSeconds} s (VIDEO_MAX_SECONDS)`);

/**
 * The seconds that the file claims for this sound, if it does, and those to expect. If a number is above the limit, the
 * sound is counted: the number may be wrong.
 */
async function lengthOf(
  { path, probe }: Media,
  audio: AudioStream,
  { ffmpeg, dir, signal, settings }: AudioOptions,
): Promise<{ said: number | undefined; expected: number }> {
  const { maxSeconds } = settings;
  const claimed = audio.duration ?? probe.duration;
  if (claimed !== undefined && claimed > maxSeconds) {
    const { held: seconds } = await ffmpeg.packets(path, { index: audio.index, maxSeconds, dir, signal });
    if (seconds > maxSeconds) throw tooLong(settings);
    return { said: seconds, expected: seconds };
  }
  // If the picture, or another sound, is longer, the container's duration is theirs.
  const own = audio.duration ?? (probe.streams === 1 ? probe.duration : undefined);
  return { said: isEstimate(probe.format) ? undefined : own, expected: claimed ?? maxSeconds };
}

/** Formats without an index, whose duration is guessed from their size. */
const isEstimate = (format: string) => /^(mp3|aac|amr)/.test(format);

async function encode(path: string, to: string, audio: AudioStream, expected: number, options: AudioOptions) {
  const { ffmpeg, memory, dir, signal, settings, onProgress } = options;
  const waveform = createWaveform(audio.channels);
  let bytes = 0;
  const { stderr } = await memory.run(soundMemory, signal, () =>
    ffmpeg.run(taskOf(path, to, audio, settings), {
      dir,
      signal,
      duration: expected,
      ...(onProgress ? { onProgress } : {}),
      onOutput(chunk) {
        bytes += chunk.length;
        waveform.add(chunk);
      },
    }),
  );
  return { stderr, duration: bytes / 2 / audio.channels / audio.sampleRate, waveform: waveform.bars(100) };
}

/** All channels go into the waveform, at their own sample rate: in a mix, sounds in opposite phase would cancel out. */
function taskOf(path: string, to: string, audio: AudioStream, settings: AudioOptions['settings']): Task {
  const { channels, sampleRate } = audio;
  const plain = '-map_metadata -1 -map_chapters -1 -fflags +bitexact';
  const common = `-map 0:${audio.index} -t ${settings.maxSeconds + 1} ${plain}`;
  const mp3 = `-c:a libmp3lame -b:a ${settings.audioBitrate} -ac ${Math.min(channels, 2)}`;
  // MP3 has no higher rate than this. A lower rate is used as it is, or the next higher one that MP3 has.
  const rate = sampleRate > 48_000 ? ' -ar 48000' : '';
  const pcm = `-c:a pcm_s16le -ac ${channels} -ar ${sampleRate}`;
  return {
    inputs: [{ path }],
    outputs: [
      { path: to, options: `${common} ${mp3}${rate} -f mp3`.split(' ') },
      { path: 'pipe:1', options: `${common} ${pcm} -f s16le`.split(' ') },
    ],
  };
}
