import { fit, type Size } from '../../ffmpeg/filters.ts';

/** One rendition of a video: its size and its highest bit rate. */
export type Rung = Size & {
  /** Such as `720p`: the pixels of its short side, also for a portrait. */
  name: string;
  /** The highest bit rate of the picture, in bits per second. */
  bitrate: number;
};

const steps = [
  { short: 1080, bitrate: 5_000_000 },
  { short: 720, bitrate: 2_800_000 },
  { short: 480, bitrate: 1_400_000 },
  { short: 360, bitrate: 800_000 },
] as const;
const lowest = steps[3];

/** A picture this close to a step has cropped edges, or was rounded: 1918x1078 is 1080p. */
const nearly = 0.95;
/** For a panorama the long side counts: it is at most this many times the short side of the step. */
const longest = 3;

/**
 * The renditions to make of a video, largest first. None is larger than the video, and there is always one.
 * @param maxBitrate the highest bit rate of the largest; the others shrink in proportion
 */
export function rungsOf(shown: Size, maxBitrate = Infinity): Rung[] {
  const short = Math.min(shown.width, shown.height);
  const within = steps.filter((step) => short >= step.short * nearly);
  const rungs = within.length > 0 ? within.map((step) => rung(shown, step)) : [smallest(shown)];
  const share = Math.min(1, maxBitrate / rungs[0]!.bitrate);
  return rungs.map((each) => ({ ...each, bitrate: Math.round(each.bitrate * share) }));
}

function rung(shown: Size, { short, bitrate }: { short: number; bitrate: number }): Rung {
  const portrait = shown.height > shown.width;
  const box = portrait ? { width: short, height: short * longest } : { width: short * longest, height: short };
  return { name: `${short}p`, ...fit(shown, box), bitrate };
}

/** For a video below all steps: its own size, with a bit rate by its pixels. */
function smallest(shown: Size): Rung {
  const { width, height } = rung(shown, lowest);
  const share = Math.min(1, (width * height) / (lowest.short * lowest.short * (16 / 9)));
  return {
    name: `${Math.min(width, height)}p`,
    width,
    height,
    bitrate: Math.max(100_000, Math.round(lowest.bitrate * share)),
  };
}
