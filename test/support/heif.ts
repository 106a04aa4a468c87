import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { ffmpegs } from './ffmpegs.ts';

/** One item of a HEIF file: a coded picture, or what is made of others. */
export type HeifItem = { type: string; data: Buffer; properties: Buffer[]; hidden?: boolean };
export type HeifReference = { type: string; from: number; to: number[] };

type Parts = { brand: string; items: HeifItem[]; primary?: number; references?: HeifReference[]; extra?: Buffer };

/** A HEIC or AVIF file put together by hand; the items have the ids 1, 2, 3... ISO/IEC 14496-12 and 23008-12. */
export function heifFile({ brand, items, primary = 1, references = [], extra = Buffer.alloc(0) }: Parts): Buffer {
  const ftyp = box('ftyp', text(brand), u32(0), text(brand === 'avis' ? 'avifavismsf1mif1' : `mif1${brand}`));
  const meta = (at: number) => {
    // Each once: libheif takes no more than 100.
    const properties = [...new Set(items.flatMap((item) => item.properties))];
    const associations = items.map((item, n) =>
      Buffer.concat([
        u16(n + 1),
        u8(item.properties.length),
        ...item.properties.map((property) => u16(properties.indexOf(property) + 1)),
      ]),
    );
    let offset = at;
    const places = items.map(({ data }, n) => {
      const place = Buffer.concat([u16(n + 1), u16(0), u16(1), u32(offset), u32(data.length)]);
      offset += data.length;
      return place;
    });
    const infe = items.map(({ type, hidden }, n) =>
      full('infe', 2, hidden ? 1 : 0, u16(n + 1), u16(0), text(type), u8(0)),
    );
    return full(
      'meta',
      0,
      0,
      full('hdlr', 0, 0, u32(0), text('pict'), Buffer.alloc(13)),
      full('pitm', 0, 0, u16(primary)),
      full('iloc', 0, 0, Buffer.from([0x44, 0]), u16(items.length), ...places),
      full('iinf', 0, 0, u16(items.length), ...infe),
      box('iprp', box('ipco', ...properties), full('ipma', 0, 1, u32(items.length), ...associations)),
      full(
        'iref',
        0,
        0,
        ...references.map(({ type, from, to }) => box(type, u16(from), u16(to.length), ...to.map(u16))),
      ),
    );
  };
  const head = ftyp.length + meta(0).length + extra.length + 8;
  return Buffer.concat([ftyp, meta(head), extra, box('mdat', ...items.map(({ data }) => data))]);
}

/** The coded picture of a HEIC or AVIF file that has no other, with its size and its decoder's configuration. */
export function codedItem(file: Buffer): HeifItem & { width: number; height: number } {
  const type = file.includes('av1C') ? 'av01' : 'hvc1';
  const size = boxOf(file, 'ispe');
  return {
    type,
    data: boxOf(file, 'mdat').subarray(8),
    properties: [size, boxOf(file, type === 'av01' ? 'av1C' : 'hvcC')],
    width: size.readUInt32BE(12),
    height: size.readUInt32BE(16),
  };
}

/** The first box of this type. */
function boxOf(file: Buffer, type: string): Buffer {
  const at = file.indexOf(type, 0, 'latin1') - 4;
  if (at < 0) throw new Error(`there is no ${type}`);
  return file.subarray(at, at + file.readUInt32BE(at));
}

export const ispe = (width: number, height: number) => full('ispe', 0, 0, u32(width), u32(height));
export const irot = (quartersLeft: number) => box('irot', u8(quartersLeft));
/** @param axis 0: top and bottom change places; 1: left and right */
export const imir = (axis: 0 | 1) => box('imir', u8(axis));
export const nclx = (primaries: number, transfer: number, matrix: number, range: 'full' | 'limited') =>
  box('colr', text('nclx'), u16(primaries), u16(transfer), u16(matrix), u8(range === 'full' ? 0x80 : 0));
export const icc = (profile: Buffer) => box('colr', text('prof'), profile);
export const alphaOf = () => full('auxC', 0, 0, text('urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0'));
/** @param middle how far the middle of the crop is from the picture's, in half pixels */
export const clap = (width: number, height: number, middle: [number, number]) =>
  box('clap', ...[width, 1, height, 1, middle[0], 2, middle[1], 2].map((value) => u32(value >>> 0)));
export const grid = (rows: number, columns: number, width: number, height: number) =>
  Buffer.concat([Buffer.from([0, 0, rows - 1, columns - 1]), u16(width), u16(height)]);

export function box(type: string, ...parts: Buffer[]): Buffer {
  const data = Buffer.concat(parts);
  return Buffer.concat([u32(data.length + 8), text(type), data]);
}
export const full = (type: string, version: number, flags: number, ...parts: Buffer[]) =>
  box(type, u32((version << 24) | flags), ...parts);

export const u8 = (value: number) => Buffer.from([value]);
export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}
const text = (value: string) => Buffer.from(value, 'latin1');

/** RGB, each from 0 to 1 and coded as it is to be stored, as an AVIF of one colour. */
export async function avifOf(
  colour: readonly [number, number, number],
  { width = 64, height = 64, bitdepth = 10 }: { width?: number; height?: number; bitdepth?: 8 | 10 | 12 } = {},
): Promise<Buffer> {
  const row = Uint16Array.from({ length: width * height * 3 }, (_, n) => Math.round(colour[n % 3]! * 65_535));
  return sharp(row, { raw: { width, height, channels: 3 } })
    .toColourspace('rgb16')
    .avif({ quality: 95, effort: 0, bitdepth, chromaSubsampling: '4:4:4' })
    .toBuffer();
}

const exec = promisify(execFile);

/** One picture of HEVC, by ffmpeg's libx265. @param pixelFormat such as `yuv420p10le` */
export async function hevcItem(width: number, height: number, pixelFormat = 'yuv420p'): Promise<HeifItem> {
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-hevc-'));
  try {
    const path = join(dir, 'a.mp4');
    const words = `-v error -f lavfi -i cellauto=size=${Math.ceil(width / 8)}x${Math.ceil(height / 8)}:rule=110:full=1
      -frames:v 1 -vf scale=${width}:${height} -pix_fmt ${pixelFormat}
      -c:v libx265 -preset ultrafast -x265-params log-level=none -tag:v hvc1`;
    await exec(ffmpegs[0]!.programs.ffmpeg.path, [...words.split(/\s+/), path]);
    return codedItem(Buffer.concat([ispe(width, height), await readFile(path)]));
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** A picture of tiles, row by row all the same one. */
export function gridOf(
  brand: string,
  tile: HeifItem,
  size: [width: number, height: number],
  each: [number, number],
): Buffer {
  const [columns, rows] = [Math.ceil(size[0] / each[0]), Math.ceil(size[1] / each[1])];
  const tiles = Array.from({ length: rows * columns }, () => ({ ...tile, hidden: true }));
  const whole = { type: 'grid', data: grid(rows, columns, ...size), properties: [ispe(...size)] };
  const references = [{ type: 'dimg', from: tiles.length + 1, to: tiles.map((_, n) => n + 1) }];
  return heifFile({ brand, items: [...tiles, whole], primary: tiles.length + 1, references });
}
