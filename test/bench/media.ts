import { openFootage, picture, tone } from '../support/footage.ts';
import type { Bench } from './measure.ts';
import { audio } from './media/audio.ts';
import { image } from './media/image.ts';
import { ladder } from './media/ladder.ts';
import { video } from './media/video.ts';
import type { Result } from './result.ts';

/** Each kind of media against the bare tool that does the same work, sharp or ffmpeg, in the same run. Linux only. */
export async function media(bench: Bench): Promise<Result[]> {
  const { runs, clipSeconds: seconds, notes } = bench;
  const footage = await openFootage();
  try {
    const { version } = await footage.ffmpeg.capabilities();
    notes.push(`ffmpeg ${version}; videos are ${seconds} s of 1080p at 17 Mbit/s, as phones record them`);
    const encoder = '-c:v libx264 -preset veryfast -b:v 17M -pix_fmt yuv420p -c:a aac';
    const source = await footage.make('source.mp4', `${picture('1920x1080', seconds)} ${tone(seconds)} ${encoder}`);
    return [
      ...(await image(bench)),
      ...(await video(footage, source, seconds, runs)),
      ...(await ladder(footage, source, runs)),
      ...(await audio(footage, seconds * 10, runs)),
    ];
  } finally {
    await footage.close();
  }
}
