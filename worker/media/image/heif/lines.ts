import type { Columns } from './rgb.ts';
import type { Layer } from './header.ts';
import { decodeItem, planesOf, release, sizeOf, type Planes } from './libheif.ts';

/** A decoded picture, or tile, whose left edge is at `left`. */
export type Part = { left: number; planes: Planes };

/**
 * Calls `work` for the columns of a part between `left` and `right`, in the part's own coordinates, with their distance
 * from `left`.
 */
export function overlap(part: Part, left: number, right: number, work: (...columns: Columns) => void): void {
  const from = Math.max(left, part.left);
  const to = Math.min(right, part.left + part.planes.luma.width);
  if (from < to) work(from - part.left, to - part.left, from - left);
}

/** The lines of a picture, decoded from top to bottom. Of a picture in tiles, at most one row of tiles is held. */
export class Lines {
  private readonly layer: Layer;
  private readonly asStored: boolean;
  private images: number[] = [];
  /** The lines that are decoded now: from `top`, up to and without `bottom`. */
  top = 0;
  bottom = 0;

  constructor(layer: Layer, asStored: boolean) {
    this.layer = layer;
    this.asStored = asStored;
  }

  /**
   * Decodes the part that line `y` is in. @throws Error as libheif's; RangeError when its size is not the one in the
   * header
   */
  decode(y: number): void {
    if (y < this.bottom) return;
    for (const image of this.images.splice(0)) release(image);
    const { id, width, height, tiles } = this.layer;
    const each = tiles ?? { width, height };
    const row = Math.floor(y / each.height);
    const ids = tiles ? tiles.ids.slice(row * tiles.columns, (row + 1) * tiles.columns) : [id];
    for (const item of ids) {
      const image = decodeItem(item, this.asStored);
      this.images.push(image);
      const size = sizeOf(image);
      if (size.width !== each.width || size.height !== each.height)
        throw new RangeError('it is not as large as its header says');
    }
    this.top = row * each.height;
    this.bottom = Math.min(height, this.top + each.height);
  }

  /** The parts that are decoded now; valid until the next `decode`. */
  parts(): Part[] {
    const width = this.layer.tiles?.width ?? 0;
    return this.images.map((image, n) => ({ left: n * width, planes: planesOf(image) }));
  }

  get first(): number {
    return this.images[0]!;
  }
}
