import type { Size } from '../ffmpeg/filters.ts';

/** Where a watermark may be in a video. */
export const positions = ['topleft', 'topright', 'bottomleft', 'bottomright', 'center'] as const;
export type Position = (typeof positions)[number];

/** The position of the upper left corner, in pixels of the video. */
export type Place = { x: number; y: number };

/** The gap from the edges, as a part of the video's short side. */
const margin = 0.03;

export const gapOf = ({ width, height }: Size) => Math.min(width, height) * margin;

/** At even pixels, because colours come in squares of two by two. */
export function placeOf(position: Position, mark: Size, video: Size): Place {
  const gap = gapOf(video);
  const room = { x: video.width - mark.width, y: video.height - mark.height };
  const places = {
    topleft: [gap, gap],
    topright: [room.x - gap, gap],
    bottomleft: [gap, room.y - gap],
    bottomright: [room.x - gap, room.y - gap],
    center: [room.x / 2, room.y / 2],
  } as const;
  // A mark that is as wide as the video has no gap.
  const even = (pixels: number, most: number) =>
    Math.max(0, Math.min(Math.round(pixels / 2), Math.floor(most / 2)) * 2);
  const [x, y] = places[position];
  return { x: even(x, room.x), y: even(y, room.y) };
}
