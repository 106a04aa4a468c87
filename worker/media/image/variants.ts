import { encode, type Encoded } from './encode.ts';
import type { Source } from './open.ts';
import { shrink, withPixels, type Means } from './pixels.ts';
import { maxSide } from './target.ts';

export type VariantSize = { name: string; width: number };
export type Variant = Encoded & { name: string };

/**
 * Makes WebP variants of one picture file, each at most `width` across and never larger than the original: upright, in
 * sRGB, with alpha, without metadata (GPS position!). The file is decoded once, and each variant is made from the one
 * before, so `sizes` go from wide to narrow. Of an animation, the first frame. WebP cannot hold a side beyond 16383
 * pixels, so a picture that tall becomes narrower than asked for.
 * @throws what withPixels does
 */
export async function makeVariants(
  path: string,
  sizes: readonly [VariantSize, ...VariantSize[]],
  means: Means,
): Promise<{ source: Source; variants: Variant[] }> {
  const boxes = sizes.map(({ width }) => ({ width, height: maxSide }));
  const target = { box: boxes[0]!, formats: ['webp'] } as const;
  const { source, made } = await withPixels(path, target, means, async (decoded) => {
    const variants: Variant[] = [];
    let pixels = decoded;
    for (const [index, { name }] of sizes.entries()) {
      means.signal.throwIfAborted();
      pixels = await shrink(pixels, boxes[index]!);
      variants.push({ name, ...(await encode(pixels, 'webp')) });
    }
    return variants;
  });
  return { source, variants: made };
}
