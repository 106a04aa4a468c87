import { parentPort, workerData } from 'node:worker_threads';
import { messageOf, PermanentError } from '../../../base/errors.ts';
import type { Coding } from '../colour.ts';
import { writePng } from '../png.ts';
import type { Heif } from './header.ts';
import { codingOf, openHeif } from './libheif.ts';
import { Lines, overlap } from './lines.ts';
import { Converter, type Row } from './rgb.ts';

// The thread that heic.ts starts for one picture, and terminates after it.

export type HeicTask = {
  from: string;
  to: string;
  heif: Heif;
  /** Factor by which width and height are reduced. */
  shrink: number;
  /** Limit of WebAssembly's memory: a file can hold a larger picture than its header says. */
  memoryBytes: number;
};
/** `code` and `fault`: code and message of a PermanentError; for `image_corrupt`, the message is libheif's. */
export type HeicOutcome = { coding: Coding } | { code: string; fault: string };

const { from, to, heif, shrink, memoryBytes } = workerData as HeicTask;
let short = false;
limitMemory();
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort!.postMessage(await work().catch(outcomeOf));

async function work(): Promise<HeicOutcome> {
  await openHeif(from);
  const { crop, derived } = heif;
  const colour = new Lines(heif.colour, !derived);
  // libheif returns the alpha of a single picture with it, but not the alpha of tiles.
  const alpha = heif.alpha && heif.colour.tiles ? new Lines(heif.alpha, true) : undefined;
  colour.decode(crop.top);
  const coding = heif.coding ?? codingOf(colour.first) ?? { primaries: 1, transfer: 13, matrix: 6, full: true };
  const { bits } = colour.parts()[0]!.planes.luma;
  const converter = new Converter(coding, bits, heif.alpha ? 4 : 3);
  const { channels } = converter;
  const deep = bits > 8;
  const size = { width: Math.ceil(crop.width / shrink), height: Math.ceil(crop.height / shrink) };
  const full = rows(colour, alpha, converter, deep);
  await writePng(to, { ...size, channels, deep }, heif.profile, shrink > 1 ? shrunk(full, channels, shrink) : full);
  return { coding };
}

/** Yields row by row, the same array each time. */
function* rows(colour: Lines, alpha: Lines | undefined, converter: Converter, deep: boolean): Generator<Row> {
  const { left, top, width, height } = heif.crop;
  const [right, bottom] = [left + width, top + height];
  const row = new (deep ? Uint16Array : Uint8ClampedArray)(width * converter.channels);
  for (let y = top; y < bottom;) {
    colour.decode(y);
    alpha?.decode(y);
    const parts = colour.parts();
    const masks = alpha?.parts() ?? [];
    const end = Math.min(bottom, colour.bottom, alpha?.bottom ?? Infinity);
    for (; y < end; y++) {
      for (const part of parts)
        overlap(part, left, right, (...columns) => {
          converter.line(part.planes, y - colour.top, columns, row);
          if (part.planes.alpha) converter.alpha(part.planes.alpha, y - colour.top, columns, row);
        });
      for (const mask of masks)
        overlap(mask, left, right, (...columns) => converter.alpha(mask.planes.luma, y - alpha!.top, columns, row));
      yield row;
    }
  }
}

/** Yields rows of means of `factor` x `factor` pixels, of fewer at the right and bottom edges. */
function* shrunk(full: Iterable<Row>, channels: number, factor: number): Generator<Row> {
  const width = heif.crop.width * channels;
  const sums = new Float64Array(Math.ceil(heif.crop.width / factor) * channels);
  let lines = 0;
  let out: Row | undefined;
  const mean = () => {
    for (let at = 0; at < sums.length; at++) {
      const across = Math.min(factor, heif.crop.width - Math.floor(at / channels) * factor);
      out![at] = Math.round(sums[at]! / (across * lines));
    }
    sums.fill(0);
    lines = 0;
    return out!;
  };
  for (const row of full) {
    out ??= row instanceof Uint16Array ? new Uint16Array(sums.length) : new Uint8ClampedArray(sums.length);
    for (let at = 0, pixel = 0; at < width; at += channels, pixel++) {
      const sum = Math.floor(pixel / factor) * channels;
      for (let channel = 0; channel < channels; channel++) sums[sum + channel]! += row[at + channel]!;
    }
    if (++lines === factor) yield mean();
  }
  if (lines > 0) yield mean();
}

/** Emscripten treats a failed `grow` as out of memory. */
function limitMemory(): void {
  const { grow } = WebAssembly.Memory.prototype;
  WebAssembly.Memory.prototype.grow = function (this: WebAssembly.Memory, pages: number) {
    short = this.buffer.byteLength + pages * 65_536 > memoryBytes;
    if (short) throw new RangeError('out of memory');
    return grow.call(this, pages);
  };
}

function outcomeOf(error: unknown): HeicOutcome {
  if (short)
    return {
      code: 'image_too_large',
      fault:
        `The HEIC needs more than the ${Math.floor(memoryBytes / 1e6)} MB estimated from its header: ` +
        'the pictures in it are larger than it says',
    };
  if (error instanceof PermanentError) return { code: error.code, fault: error.message };
  const fault = messageOf(error);
  // libheif's limit is the size in the header.
  const larger = fault.includes('exceeds the maximum image size');
  return { code: 'image_corrupt', fault: larger ? 'the picture in it is larger than its header says' : fault };
}
