import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PermanentError } from '../base/errors.ts';
import { checkDamage, endsEarly, truncated } from './damage.ts';
import type { Ffmpeg, Task } from './ffmpeg.ts';
import { soundMemory } from './ffmpeg-memory.ts';
import type { AudioStream } from './ffmpeg/probe.ts';
import type { MemoryGate } from './memory.ts';
import { sniffMedia } from './sniff-media.ts';
import { chooseAudio } from './video-source.ts';
import { createWaveform } from './waveform.ts';

export type AudioOptions = {
  ffmpeg: Ffmpeg;
  memory: MemoryGate;
  settings: { audioBitrate: number; maxSeconds: number };
  /** A private folder for what is made. */
  dir: string;
  signal: AbortSignal;
  /** The share that is done, 0 to 1. */
  onProgress?: (share: number) => void;
};

export type ProcessedAudio = {
  /** An MP3 without metadata. */
  path: string;
  bytes: number;
  /** 100 whole numbers from 0 to 100. */
  waveform: number[];
  /** Of the original. */
  metadata: {
    format: string;
    codec: string;
    /** Seconds, as it really lasts. */
    duration: number;
    bytes: number;
    bitrate: number | null;
    channels: number;
    sample_rate: number;
  };
};

/**
 * Makes an MP3 of any sound, that of a video too, and its waveform. One process does both, from one decode.
 * @throws PermanentError `not_media`, `no_audio_stream`, `audio_too_long`, `media_truncated`, `media_corrupt`; what Ffmpeg throws; the signal's reason
 */
export async function processAudio(path: string, options: AudioOptions): Promise<ProcessedAudio> {
  const { ffmpeg, memory, dir, signal, settings, onProgress } = options;
  const format = await sniffMedia(path);
  const probe = await ffmpeg.probe(path, { dir, signal });
  const audio = chooseAudio(probe);
  if (!audio) throw new PermanentError('no_audio_stream', 'The file has no sound that can be decoded');
  const said = audio.duration ?? probe.duration;
  const { maxSeconds } = settings;
  const tooLong = new PermanentError('audio_too_long', `The sound lasts more than ${maxSeconds} s (VIDEO_MAX_SECONDS)`);
  if (said !== undefined && said > maxSeconds) throw tooLong;

  const to = join(dir, 'audio.mp3');
  const waveform = createWaveform(audio.channels);
  let bytes = 0;
  const { stderr } = await memory.run(soundMemory, signal, () =>
    ffmpeg.run(taskOf(path, to, audio, settings), {
      dir,
      signal,
      duration: said ?? maxSeconds,
      ...(onProgress ? { onProgress } : {}),
      onOutput(chunk) {
        bytes += chunk.length;
        waveform.add(chunk);
      },
    }),
  );
  const duration = bytes / 2 / audio.channels / audio.sampleRate;
  if (duration > maxSeconds) throw tooLong;
  checkDamage(stderr, duration);
  if (duration === 0) throw new PermanentError('media_corrupt', 'None of the sound can be decoded');
  // Where the picture, or another sound, lasts longer, it is them that the container speaks of.
  const own = audio.duration ?? (probe.streams === 1 ? probe.duration : undefined);
  if (own !== undefined && !isEstimate(probe.format) && endsEarly(own, duration)) throw truncated(own, duration);
  return {
    path: to,
    bytes: (await stat(to)).size,
    waveform: waveform.bars(100),
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

/** All channels go into the waveform, at their own rate: mixed down, what is in opposite phase would vanish. */
function taskOf(path: string, to: string, audio: AudioStream, settings: AudioOptions['settings']): Task {
  const { channels, sampleRate } = audio;
  const common = `-map 0:${audio.index} -t ${settings.maxSeconds + 1} -map_metadata -1 -map_chapters -1 -fflags +bitexact`;
  const mp3 = `-c:a libmp3lame -b:a ${settings.audioBitrate} -ac ${Math.min(channels, 2)}`;
  // The most that MP3 has; lower ones it has, or the next higher one.
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

/** Formats without an index, whose duration is guessed by their size. */
const isEstimate = (format: string) => /^(mp3|aac|amr)/.test(format);
