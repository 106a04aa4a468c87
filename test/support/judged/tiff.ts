import { deflateSync } from 'node:zlib';
import { pack } from './png.ts';
import { size } from './scene.ts';

export type TiffOptions = {
  /** 0 white is zero, 1 black is zero, 2 RGB, 3 palette. */
  photometric: 0 | 1 | 2 | 3;
  bits: 1 | 4 | 8 | 16;
  /** Each sample at a place of the picture; samples and coordinates are 0 to 1. */
  sampleAt(x: number, y: number): readonly number[];
  bigEndian?: boolean;
  /** Each sample has a plane of its own. */
  planar?: boolean;
  rowsPerStrip?: number;
  deflate?: boolean;
  orientation?: number;
  /** What a sample beyond those of the colours is: 1 opacity that the colours are multiplied with, 2 opacity. */
  extraSample?: 1 | 2;
  profile?: Buffer;
  /** 256 colours, their parts 0 to 1. */
  palette?: (readonly [red: number, green: number, blue: number])[];
  /** Another page behind this one, black. */
  secondPage?: boolean;
};

/**
 * A TIFF as scanners and cameras write them: one picture in strips. TIFF 6.0,
 * https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
 */
export function tiff(options: TiffOptions): Buffer {
  const { bigEndian = false, secondPage = false, sampleAt } = options;
  const { short, long } = writer(bigEndian);
  const head = Buffer.concat([Buffer.from(bigEndian ? 'MM' : 'II', 'latin1'), short(42), long(8)]);
  if (!secondPage) return Buffer.concat([head, page(options, head.length, false)]);
  const first = page(options, head.length, true);
  const black = { ...options, sampleAt: (x: number, y: number) => sampleAt(x, y).map(() => 0) };
  return Buffer.concat([head, first, page(black, head.length + first.length, false)]);
}

/** A directory, and behind it what its entries point to. @param from where in the file it begins */
function page(options: TiffOptions, from: number, another: boolean): Buffer {
  const { short, long } = writer(options.bigEndian ?? false);
  const strips = stripsOf(options);
  const tags = tagsOf(options, strips);
  const parts: Buffer[] = [];
  let at = from + 2 + tags.length * 12 + 4;
  const place = (bytes: Buffer) => {
    const even = Buffer.concat([bytes, Buffer.alloc(bytes.length % 2)]);
    parts.push(even);
    at += even.length;
    return at - even.length;
  };
  const offsets = Buffer.concat(strips.map((strip) => long(place(strip))));
  const entries = tags.map(({ tag, type, count, bytes }) => {
    const value = tag === stripOffsets ? offsets : bytes;
    const inEntry = value.length > 4 ? long(place(value)) : Buffer.concat([value, Buffer.alloc(4 - value.length)]);
    return Buffer.concat([short(tag), short(type), long(count), inEntry]);
  });
  return Buffer.concat([short(tags.length), ...entries, long(another ? at : 0), ...parts]);
}

const stripOffsets = 273;
type Tag = { tag: number; type: number; count: number; bytes: Buffer };

/** In the order of their numbers, as readers want them. */
function tagsOf(options: TiffOptions, strips: Buffer[]): Tag[] {
  const { photometric, bits, bigEndian = false, planar = false, rowsPerStrip = size.height } = options;
  const { orientation, extraSample, profile, palette, deflate = false } = options;
  const { short, long } = writer(bigEndian);
  const shorts = (tag: number, ...values: number[]): Tag[] =>
    values.length === 0 ? [] : [{ tag, type: 3, count: values.length, bytes: Buffer.concat(values.map(short)) }];
  const longs = (tag: number, ...values: number[]): Tag[] => [
    { tag, type: 4, count: values.length, bytes: Buffer.concat(values.map(long)) },
  ];
  const samples = options.sampleAt(0, 0);
  const colours = [0, 1, 2].flatMap((n) => (palette ?? []).map((colour) => Math.round(colour[n]! * 65_535)));
  return [
    ...shorts(256, size.width),
    ...shorts(257, size.height),
    ...shorts(258, ...samples.map(() => bits)),
    ...shorts(259, deflate ? 8 : 1),
    ...shorts(262, photometric),
    ...longs(stripOffsets, ...strips.map(() => 0)),
    ...shorts(274, ...(orientation === undefined ? [] : [orientation])),
    ...shorts(277, samples.length),
    ...shorts(278, rowsPerStrip),
    ...longs(279, ...strips.map(({ length }) => length)),
    ...shorts(284, planar ? 2 : 1),
    ...shorts(320, ...colours),
    ...shorts(338, ...(extraSample === undefined ? [] : [extraSample])),
    ...(profile ? [{ tag: 34_675, type: 7, count: profile.length, bytes: profile }] : []),
  ];
}

function stripsOf(options: TiffOptions): Buffer[] {
  const { sampleAt, planar = false, rowsPerStrip = size.height, deflate = false } = options;
  const planes = planar ? sampleAt(0, 0).map((_, n) => n) : [undefined];
  return planes.flatMap((plane) => {
    const strips: Buffer[] = [];
    for (let top = 0; top < size.height; top += rowsPerStrip) {
      const count = Math.min(rowsPerStrip, size.height - top);
      const rows = Array.from({ length: count }, (_, n) => rowOf(options, top + n, plane));
      const data = Buffer.concat(rows);
      strips.push(deflate ? deflateSync(data) : data);
    }
    return strips;
  });
}

function rowOf({ sampleAt, bits, bigEndian = false }: TiffOptions, row: number, plane: number | undefined): Buffer {
  const places = Array.from({ length: size.width }, (_, column) => column / (size.width - 1));
  const shares = places
    .map((x) => sampleAt(x, row / (size.height - 1)))
    .flatMap((samples) => (plane === undefined ? samples : [samples[plane]!]));
  const most = 2 ** bits - 1;
  const packed = pack(
    shares.map((share) => Math.round(share * most)),
    bits,
  );
  return bits === 16 && !bigEndian ? packed.swap16() : packed;
}

function writer(bigEndian: boolean) {
  const short = (value: number) => {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16BE(value);
    return bigEndian ? bytes : bytes.swap16();
  };
  const long = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bigEndian ? bytes : bytes.swap32();
  };
  return { short, long };
}
