import { encodeMemory, type Preset, type Profile } from '../../ffmpeg/memory.ts';
import type { VideoStream } from '../../ffmpeg/probe.ts';
import type { Rung } from './rungs.ts';

/**
 * How the rungs of a ladder are encoded: each group by one process that decodes the video once, one group after
 * another.
 */
export type Plan = { groups: Group[]; profile: Profile };
export type Group = {
  /** Largest first. */
  rungs: Rungs;
  /** Memory. */
  bytes: number;
};
export type Rungs = readonly [Rung, ...Rung[]];

/**
 * The quickest way to encode these rungs that fits into the memory budget: all in one process, fast; else lean; else
 * lean in two processes, the largest rung alone; else lean, each rung alone. If even then the largest rung needs too
 * much, the ladder begins with the next one.
 * @returns undefined if not even the smallest rung fits
 */
export function planLadder(
  video: VideoStream,
  rungs: readonly Rung[],
  { budget, ...means }: { preset: Preset; toneMapping: boolean; budget: number },
): Plan | undefined {
  for (let start = 0; start < rungs.length; start++) {
    const [top, ...rest] = rungs.slice(start) as [Rung, ...Rung[]];
    const ways: [Profile, Rungs[]][] = [
      ['fast', [[top, ...rest]]],
      ['lean', [[top, ...rest]]],
      ['lean', [[top], ...(rest.length > 0 ? [rest as [Rung, ...Rung[]]] : [])]],
      ['lean', [[top], ...rest.map((rung): Rungs => [rung])]],
    ];
    for (const [profile, groups] of ways) {
      const sized = groups.map((group) => ({
        rungs: group,
        bytes: encodeMemory(video, [...group], { profile, ...means }),
      }));
      if (sized.every(({ bytes }) => bytes <= budget)) return { groups: sized, profile };
    }
  }
  return undefined;
}
