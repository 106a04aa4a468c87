import { open, type FileHandle } from 'node:fs/promises';
import { PermanentError } from '../../../base/errors.ts';
import { withPeak, type Coding } from '../colour.ts';
import { Reader, topBoxes, type Box } from './boxes.ts';
import { codingOfAv1 } from './av1.ts';
import { itemBytes, itemHead, readItems, type Items } from './items.ts';

export type Size = { width: number; height: number };
type Rect = Size & { left: number; top: number };

/** A coded picture of a HEIF file: one item, or the tiles of a grid, row by row. */
export type Layer = Size & { id: number; tiles?: Size & { ids: number[]; columns: number } };

/** Rotate clockwise by `angle` degrees, then mirror left to right. */
export type Turn = { angle: number; flop: boolean };

/** The primary picture of a HEIF file. */
export type Heif = {
  /** Type of the item, or of its tiles: `hvc1`, `av01`, `jpeg`, ... */
  codec: string;
  /** Composed of other pictures (`iden`, `iovl`, `tmap`) by the decoder. */
  derived: boolean;
  /** As stored, before cropping and rotation; of a `derived` picture, as displayed. */
  colour: Layer;
  alpha: Layer | undefined;
  /** The part that is displayed. */
  crop: Rect;
  turn: Turn;
  /** Bits a sample. */
  bits: number;
  /** Samples a pixel: 1 for grey, 1.5 for 4:2:0, 2 for 4:2:2, 3 for 4:4:4. */
  samples: number;
  /**
   * The colour coding in the boxes, else in the AV1 stream; undefined for a HEIC without it, where the decoder tells.
   */
  coding: Coding | undefined;
  profile: Buffer | undefined;
  /** The animation that the file also holds; `at` is the offset of the type of its box in the file. */
  animation: { at: number; frames: number } | undefined;
  /** Where the coded data of a single picture is in the file. */
  extents: { at: number; bytes: number }[];
};

/** Leaves room for a colour profile of megabytes; the box of a 200-megapixel picture in tiles has 40 kB. */
const mostMetaBytes = 8_000_000;

/**
 * Reads what a HEIC or AVIF file says of its primary picture, without decoding it.
 * @throws PermanentError `unsupported_image_format` when it has none; RangeError when its boxes are broken
 */
export async function readHeif(path: string): Promise<Heif> {
  const file = await open(path);
  try {
    const top = await topBoxes(file, ['meta', 'moov'], mostMetaBytes);
    const [meta, moov] = [top.get('meta'), top.get('moov')];
    const items = meta && readItems(meta.data);
    if (!items) {
      if (!moov) throw new RangeError('it does not say which picture is in it');
      const only = 'holds a sequence of frames, as a video does, and no still picture';
      throw new PermanentError('unsupported_image_format', `The file ${only}`);
    }
    return await describe(file, items, moov && { at: moov.at, frames: framesOf(moov.data) });
  } finally {
    await file.close();
  }
}

/** The size as displayed. */
export function shownSize({ crop: { width, height }, turn }: Pick<Heif, 'crop' | 'turn'>): Size {
  return turn.angle % 180 === 0 ? { width, height } : { width: height, height: width };
}

async function describe(file: FileHandle, items: Items, animation: Heif['animation']): Promise<Heif> {
  const id = items.primary;
  const type = items.types.get(id);
  if (type === undefined) throw new RangeError('its primary picture is missing');
  const colour = await layerOf(file, items, id);
  const coded = firstOf(items, id);
  // A picture composed of others need not repeat their properties.
  const own = items.properties(id);
  const properties = coded === id ? own : [...own, ...items.properties(coded)];
  const auxiliary = alphaOf(items, id);
  const derived = ['iden', 'iovl', 'tmap'].includes(type);
  const codec = items.types.get(coded) ?? type;
  const { coding = await codedCoding(file, items, coded, codec), profile } = colourOf(properties);
  return {
    codec,
    derived,
    alpha: auxiliary === undefined ? undefined : await layerOf(file, items, auxiliary),
    ...(derived ? asShown(colour, own) : { colour, ...geometry(own, colour) }),
    ...samplesOf(properties),
    coding,
    profile,
    animation,
    extents: items.extents(id).filter(({ from, bytes }) => from === 'file' && bytes > 0),
  };
}

/** libheif returns a composed picture as displayed. */
function asShown({ id, ...size }: Layer, properties: Box[]): Pick<Heif, 'colour' | 'crop' | 'turn'> {
  const shown = shownSize(geometry(properties, size));
  return { colour: { id, ...shown }, crop: { left: 0, top: 0, ...shown }, turn: { angle: 0, flop: false } };
}

/** The first item that this one is composed of, at any depth. */
function firstOf(items: Items, id: number, depth = 0): number {
  const made = items.references.find(({ type, from }) => type === 'dimg' && from === id)?.to[0];
  return made === undefined || depth === 4 ? id : firstOf(items, made, depth + 1);
}

async function layerOf(file: FileHandle, items: Items, id: number): Promise<Layer> {
  const size = sizeOf(items, id);
  if (items.types.get(id) !== 'grid') return { id, ...size };
  const ids = items.references.find(({ type, from }) => type === 'dimg' && from === id)?.to ?? [];
  const grid = new Reader(await itemBytes(file, items, id, 12));
  grid.uint(1);
  const bytes = (grid.uint(1) & 1) === 1 ? 4 : 2;
  const [rows, columns] = [grid.uint(1) + 1, grid.uint(1) + 1];
  const [width, height] = [grid.uint(bytes), grid.uint(bytes)];
  if (rows * columns > ids.length) throw new RangeError(`some of its ${rows} x ${columns} tiles are missing`);
  const tile = sizeOf(items, ids[0]!);
  if (tile.width * columns < width || tile.height * rows < height)
    throw new RangeError('its tiles do not cover the picture');
  return { id, width, height, tiles: { ids: ids.slice(0, rows * columns), columns, ...tile } };
}

function sizeOf(items: Items, id: number): Size {
  const ispe = items.properties(id).find(({ type }) => type === 'ispe')?.data;
  ispe?.full();
  const size = { width: ispe?.uint(4) ?? 0, height: ispe?.uint(4) ?? 0 };
  if (size.width === 0 || size.height === 0) throw new RangeError('it does not say how large its picture is');
  return size;
}

const alphaNames = ['urn:mpeg:mpegB:cicp:systems:auxiliary:alpha', 'urn:mpeg:hevc:2015:auxid:1'];

function alphaOf(items: Items, id: number): number | undefined {
  const isAlpha = (item: number) =>
    items.properties(item).some(({ type, data }) => {
      if (type !== 'auxC') return false;
      data.full();
      return alphaNames.includes(data.take().toString('latin1').split('\0')[0]!);
    });
  return items.references.find(({ type, from, to }) => type === 'auxl' && to.includes(id) && isAlpha(from))?.from;
}

/**
 * Applies the crop, rotations and mirrorings in order. irot turns anticlockwise; imir 0 mirrors top to bottom, 1 left
 * to right.
 */
function geometry(properties: Box[], { width, height }: Size): Pick<Heif, 'crop' | 'turn'> {
  let crop = { left: 0, top: 0, width, height };
  const turn = { angle: 0, flop: false };
  const rotate = (angle: number) => (turn.angle = (turn.angle + (turn.flop ? -angle : angle) + 360) % 360);
  for (const { type, data } of properties) {
    if (type === 'clap') crop = cropOf(data, crop);
    if (type === 'irot') rotate(360 - 90 * (data.uint(1) & 3));
    if (type !== 'imir') continue;
    turn.flop = !turn.flop;
    if ((data.uint(1) & 1) === 0) rotate(180);
  }
  return { crop, turn };
}

/**
 * The clean aperture of a picture: size, and offset of its centre from the picture's, as fractions. One that is not
 * inside the picture is ignored, as browsers do. ISO/IEC 14496-12, 12.1.4.
 */
function cropOf(clap: Reader, whole: Rect): Rect {
  const fraction = (numerator: number) => numerator / clap.uint(4);
  const width = Math.round(fraction(clap.uint(4)));
  const height = Math.round(fraction(clap.uint(4)));
  const left = Math.floor(fraction(clap.int32()) + (whole.width - width) / 2);
  const top = Math.floor(fraction(clap.int32()) + (whole.height - height) / 2);
  const within = width > 0 && height > 0 && left >= 0 && top >= 0;
  return within && left + width <= whole.width && top + height <= whole.height ? { left, top, width, height } : whole;
}

/**
 * From the decoder configuration. ISO/IEC 14496-15, 8.3.3.1;
 * https://aomediacodec.github.io/av1-isobmff/#av1codecconfigurationbox
 */
function samplesOf(properties: Box[]): Pick<Heif, 'bits' | 'samples'> {
  for (const { type, data } of properties) {
    if (type === 'hvcC') {
      const [chroma, luma] = data.take(18).subarray(16);
      return { bits: 8 + (luma! & 7), samples: [1, 1.5, 2, 3][chroma! & 3]! };
    }
    if (type === 'av1C') {
      const flags = data.take(3)[2]!;
      const [deep, twelve, grey, half, quarter] = [0x40, 0x20, 0x10, 8, 4].map((bit) => (flags & bit) !== 0);
      return { bits: twelve ? 12 : deep ? 10 : 8, samples: grey ? 1 : quarter ? 1.5 : half ? 2 : 3 };
    }
  }
  return { bits: 8, samples: 3 };
}

async function codedCoding(file: FileHandle, items: Items, id: number, codec: string): Promise<Coding | undefined> {
  return codec === 'av01' ? codingOfAv1(await itemHead(file, items, id, 1024)) : undefined;
}

/** A picture may have two colr boxes: a coding (nclx) and a profile. ISO/IEC 14496-12, 12.1.5. */
function colourOf(properties: Box[]): Pick<Heif, 'coding' | 'profile'> {
  let coding: Coding | undefined;
  let profile: Buffer | undefined;
  for (const { type, data } of properties) {
    if (type !== 'colr') continue;
    const kind = data.text(4);
    if (kind === 'nclx')
      coding ??= {
        primaries: data.uint(2),
        transfer: data.uint(2),
        matrix: data.uint(2),
        full: (data.uint(1) & 0x80) !== 0,
      };
    if (kind === 'prof' || kind === 'rICC') profile ??= data.take();
  }
  return { coding: coding && withPeak(coding, brightest(properties, 'clli'), brightest(properties, 'mdcv')), profile };
}

/**
 * Peak brightness in 0.0001 cd/m2, of the picture or of the screen it was made on. ISO/IEC 14496-12, 12.1.6 and 12.1.7.
 */
function brightest(properties: Box[], box: 'clli' | 'mdcv'): number | undefined {
  const data = properties.find(({ type }) => type === box)?.data;
  if (box === 'clli') return data && data.uint(2) * 10_000;
  data?.take(16);
  return data?.uint(4);
}

/** Count of samples in the first track. */
function framesOf(moov: Reader): number {
  const path = ['trak', 'mdia', 'minf', 'stbl', 'stsz'];
  let box: Reader | undefined = moov;
  for (const step of path) box = box && [...box.boxes()].find(({ type }) => type === step)?.data;
  if (!box) return 1;
  box.full();
  box.uint(4);
  return Math.max(1, box.uint(4));
}
