import { processAudio } from '../../../worker/media/audio/audio.ts';
import { loadConfig } from '../../../worker/base/config/config.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import type { Footage } from '../../support/footage.ts';
import { interleave } from '../measure.ts';
import { atMost, information, type Result } from '../result.ts';
import { besideHand } from './by-hand.ts';

const { video, mediaTruncated: truncated } = loadConfig({});
const settings = { ...video, truncated };

/**
 * The work of media.audio on a voice message, an MP3 and its waveform, against one ffmpeg that makes the MP3 and writes
 * the samples of the waveform to nowhere; and against one that makes the MP3 alone.
 */
export async function audio(footage: Footage, seconds: number, runs: number): Promise<Result[]> {
  const voice = `anoisesrc=c=pink:d=${seconds}:r=48000:a=0.5,tremolo=f=3:d=0.8`;
  const source = await footage.make('voice.ogg', `-f lavfi -i ${voice} -c:a libopus -b:a 32k`);
  const memory = createMemoryGate({ bytes: 4e9, slots: 1 });
  const { ours, anchor, same, figures } = await besideHand(footage, source, (path, means) =>
    processAudio(path, { ...means, memory, settings }),
  );
  await interleave(runs, { 'media.audio': ours, 'ffmpeg, the same': same, 'ffmpeg, MP3 alone': anchor });
  return [
    atMost(1.15, 'audio, wall, against one command', figures('same')),
    information('audio, wall, against the MP3 alone', figures()),
  ];
}
