import type { Task } from '../ffmpeg/ffmpeg.ts';
import type { AudioStream } from '../ffmpeg/probe.ts';

/**
 * Measures how much sound the decoder returns, with one more output of the same run. The length of what the encoder
 * makes does not tell: gaps are stretched, or filled with silence.
 */
export function createSoundMeter({ index }: AudioStream, maxSeconds: number) {
  const options = `-map 0:${index} -t ${maxSeconds + 1} -ac 1 -ar ${samplesPerSecond} -c:a pcm_u8 -f u8`;
  const output: Task['outputs'][number] = { path: 'pipe:1', options: options.split(' ') };
  let samples = 0;
  return {
    output,
    add(chunk: Buffer): void {
      samples += chunk.length;
    },
    seconds: () => samples / samplesPerSecond,
  };
}

export type SoundMeter = ReturnType<typeof createSoundMeter>;

/** Samples of one byte: exact to a millisecond, at hardly any cost. */
const samplesPerSecond = 8_000;
