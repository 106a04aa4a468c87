/** Every made picture shows the same scene, in this size unless its case is about its size. */
export const size = { width: 64, height: 48 } as const;

/** Shares of red, green, blue and opacity, 0 to 1, at a place of the picture, each of its coordinates 0 to 1. */
export type Shares = readonly [red: number, green: number, blue: number, alpha: number];

/**
 * Red grows to the right, green downwards, blue in a wave, so that no turn or mirror image of it looks the same. It
 * goes from black to white, and so slowly that halved chroma loses nothing.
 */
export function sceneAt(x: number, y: number): Shares {
  const blue = 0.5 - 0.5 * Math.cos(1.5 * Math.PI * (x + y));
  return [x, y, blue, Math.min(1, Math.max(0, 1.4 - 0.9 * x - 0.6 * y))];
}

/** The same without colour. */
export const greyAt = (x: number, y: number): number => 0.65 * x + 0.35 * y;

/** What `sceneAt` gives, for the filter geq of ffmpeg. https://ffmpeg.org/ffmpeg-filters.html#geq */
export function sceneFilter(most: number): string {
  const [x, y] = ['X/(W-1)', 'Y/(H-1)'];
  return `geq=r=${most}*${x}:g=${most}*${y}:b=${most}*(0.5-0.5*cos(1.5*PI*(${x}+${y})))`;
}

/** Interleaved samples of 8 bits: grey, grey and alpha, RGB, RGBA. */
export function scenePixels(
  channels: 1 | 2 | 3 | 4,
  { width, height }: { width: number; height: number } = size,
): Buffer {
  const data = Buffer.alloc(width * height * channels);
  for (let at = 0, place = 0; at < data.length; at += channels, place++) {
    const [x, y] = [(place % width) / (width - 1), Math.floor(place / width) / (height - 1)];
    const [red, green, blue, alpha] = sceneAt(x, y);
    const shares = { 1: [greyAt(x, y)], 2: [greyAt(x, y), alpha], 3: [red, green, blue], 4: [red, green, blue, alpha] };
    data.set(
      shares[channels].map((share) => Math.round(share * 255)),
      at,
    );
  }
  return data;
}
