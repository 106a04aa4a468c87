import type { Source } from './open.ts';

/** The formats that pictures are written in. */
export type OutputFormat = 'jpeg' | 'png' | 'webp' | 'avif';

/** What a picture is to be made into. */
export type Target = {
  /** At most this large; a picture is never enlarged. */
  box: { width: number; height: number };
  formats: readonly OutputFormat[] | ((picture: Source) => readonly OutputFormat[]);
  /** An animation stays animated if staysAnimated. */
  animated?: boolean;
};

/** All frames together: about four seconds of CPU time. */
const maxAnimationPixels = 40e6;

/** Whether an animation is written as an animation, where the target allows it. */
export const staysAnimated = ({ format, pages, width, height, orientation }: Source): boolean =>
  ['gif', 'webp'].includes(format) && pages > 1 && orientation === 1 && pages * width * height <= maxAnimationPixels;

/** The largest side that WebP can have. https://developers.google.com/speed/webp/faq */
export const maxSide = 16_383;
