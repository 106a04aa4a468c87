import { generate } from '../clips.ts';
import { sceneFilter, size } from './scene.ts';

export type Codec = 'av1' | 'hevc';
export type Chroma = '420' | '422' | '444' | 'grey' | 'gbr';
/**
 * Numbers of ISO/IEC 23091-2: primaries 1 BT.709, 9 BT.2020, 12 P3; transfer 1 BT.709, 8 linear, 13 sRGB, 16 PQ, 18
 * HLG; matrix 0 GBR, 1 BT.709, 6 BT.601, 9 BT.2020.
 */
export type Nclx = { primaries: number; transfer: number; matrix: number; full: boolean };

export type CodedOptions = {
  codec: Codec;
  chroma?: Chroma;
  depth?: 8 | 10 | 12;
  /** How the samples are to be understood, and whether the bitstream says so. */
  nclx?: Nclx;
  untold?: boolean;
  /** Of the scene, what is in it: its opacity in place of its colours, or a part of it. */
  opacity?: boolean;
  canvas?: { width: number; height: number };
  part?: { left: number; top: number; width: number; height: number };
  /** The share of the signal that the brightest place has: of PQ, 0.7 is 620 cd/m². */
  most?: number;
};
export type Coded = {
  codec: Codec;
  config: Buffer;
  data: Buffer;
  width: number;
  height: number;
  channels: number;
  depth: number;
};

export const srgbNclx: Nclx = { primaries: 1, transfer: 13, matrix: 6, full: true };

/** The scene as one picture of AV1 or HEVC, nearly without loss. */
export async function coded(options: CodedOptions): Promise<Coded> {
  const { codec, chroma = '420', depth = 8, canvas = size, part } = options;
  const made = await generate('coded.mp4', wordsOf(options));
  const [config, data] = [boxOf(made, codec === 'av1' ? 'av1C' : 'hvcC'), boxOf(made, 'mdat').subarray(8)];
  const { width, height } = part ?? canvas;
  return { codec, config, data, width, height, channels: chroma === 'grey' ? 1 : 3, depth };
}

const matrices: Record<number, string> = { 1: 'bt709', 5: 'bt601', 6: 'bt601', 9: 'bt2020' };

function wordsOf(options: CodedOptions): string {
  const {
    codec,
    chroma = '420',
    depth = 8,
    nclx = srgbNclx,
    untold = false,
    opacity = false,
    canvas = size,
    part,
    most = 1,
  } = options;
  const bits = depth === 8 ? '' : `${depth}le`;
  const deep = depth === 8 ? 'gbrp' : `gbrp${depth}le`;
  const alpha = `${2 ** depth - 1}*clip(1.4-0.9*X/(W-1)-0.6*Y/(H-1)\\,0\\,1)`;
  const filters = [
    `nullsrc=s=${canvas.width}x${canvas.height}:d=1:r=1`,
    `format=${deep}`,
    opacity ? `geq=r=${alpha}:g=${alpha}:b=${alpha}` : sceneFilter((2 ** depth - 1) * most),
    ...(part ? [`crop=${part.width}:${part.height}:${part.left}:${part.top}`] : []),
    ...planesOf(chroma, bits, nclx),
  ];
  const { primaries, transfer, matrix, full } = untold
    ? { primaries: 2, transfer: 2, matrix: 2, full: nclx.full }
    : nclx;
  const told =
    `-color_primaries ${primaries} -color_trc ${transfer} -colorspace ${matrix} ` +
    `-color_range ${full ? 'pc' : 'tv'}`;
  const encoder =
    codec === 'av1'
      ? '-c:v libaom-av1 -strict experimental -crf 2 -b:v 0 -cpu-used 8'
      : '-c:v libx265 -preset ultrafast -tag:v hvc1 ' +
        `-x265-params lossless=1:log-level=none:range=${full ? 'full' : 'limited'}`;
  return `-f lavfi -i ${filters.join(',')} -frames:v 1 ${encoder} ${told}`;
}

/** From RGB to what is coded. Grey is the luma of colour: ffmpeg knows no grey of limited range. */
function planesOf(chroma: Chroma, bits: string, { matrix, full }: Nclx): string[] {
  if (chroma === 'gbr') return [];
  const to =
    `scale=in_range=full:out_range=${full ? 'full' : 'limited'}:out_color_matrix=${matrices[matrix] ?? 'bt601'}` +
    ':flags=accurate_rnd+full_chroma_int+bilinear';
  return [
    to,
    `format=yuv${chroma === 'grey' ? '444' : chroma}p${bits}`,
    ...(chroma === 'grey' ? ['extractplanes=y'] : []),
  ];
}

function boxOf(file: Buffer, type: string): Buffer {
  const at = file.indexOf(type) - 4;
  return file.subarray(at, at + file.readUInt32BE(at));
}

export type Item = {
  id: number;
  type: string;
  data: Buffer;
  properties: Buffer[];
  hidden?: boolean;
  /** Names of references and the items that they go to. */
  references?: [type: 'dimg' | 'auxl' | 'thmb', to: number[]][];
};

/** A HEIF file of these items. ISO/IEC 14496-12, 8.11, and ISO/IEC 23008-12 */
export function heif(brand: 'avif' | 'heic' | 'mif1', items: Item[], primary = items[0]!.id): Buffer {
  const head = box('ftyp', Buffer.from(`${brand}\0\0\0\0mif1miaf${brand}`, 'latin1'));
  const metaBytes = metaOf(items, primary, 0).length;
  const meta = metaOf(items, primary, head.length + metaBytes + 8);
  return Buffer.concat([head, meta, box('mdat', ...items.map(({ data }) => data))]);
}

export const itemOf = (
  id: number,
  { codec, config, data, width, height, channels, depth }: Coded,
  ...properties: Buffer[]
): Item => ({
  id,
  type: codec === 'av1' ? 'av01' : 'hvc1',
  data,
  properties: [spatialExtents(width, height), bitsOf(channels, depth), config, ...properties],
});

/** Rows and columns of pictures, cut off at the right and below to the size that is wanted. */
export const gridItem = (
  id: number,
  tiles: Item[],
  { rows, columns, width, height }: { rows: number; columns: number; width: number; height: number },
  ...properties: Buffer[]
): Item => ({
  id,
  type: 'grid',
  data: Buffer.from([0, 0, rows - 1, columns - 1, width >> 8, width & 255, height >> 8, height & 255]),
  properties: [spatialExtents(width, height), ...properties],
  references: [['dimg', tiles.map((tile) => tile.id)]],
});

const spatialExtents = (width: number, height: number) => full('ispe', 0, 0, long(width), long(height));
const bitsOf = (channels: number, depth: number) =>
  full('pixi', 0, 0, Buffer.from([channels, ...Array.from({ length: channels }, () => depth)]));

export const colour = ({ primaries, transfer, matrix, full: whole }: Nclx): Buffer =>
  box('colr', Buffer.from('nclx'), short(primaries), short(transfer), short(matrix), Buffer.from([whole ? 0x80 : 0]));
export const profileColour = (profile: Buffer): Buffer => box('colr', Buffer.from('prof'), profile);
/** Quarter turns, against the clock. */
export const rotation = (quarters: number): Buffer => box('irot', Buffer.from([quarters]));
/** 0: left and right change places in ISO/IEC 23008-12:2022's words top and bottom; 1 the other two. */
export const mirror = (axis: 0 | 1): Buffer => box('imir', Buffer.from([axis]));
/** The middle of what is kept lies `right` and `down` of the middle of the picture, in halves of a pixel. */
export const cleanAperture = (width: number, height: number, right: number, down: number): Buffer =>
  box('clap', ...[width, 1, height, 1, right, 2, down, 2].map(long));
export const auxiliaryAlpha = (codec: Codec): Buffer =>
  full(
    'auxC',
    0,
    0,
    Buffer.from(`${codec === 'av1' ? 'urn:mpeg:mpegB:cicp:systems:auxiliary:alpha' : 'urn:mpeg:hevc:2015:auxid:1'}\0`),
  );

/** Transformations, and how it is coded: who does not know these must not show it. */
const essential = new Set(['av1C', 'hvcC', 'irot', 'imir', 'clap']);

function metaOf(items: Item[], primary: number, from: number): Buffer {
  const properties = items.flatMap((item) => item.properties);
  const references = items.flatMap(({ id, references: all = [] }) =>
    all.map(([type, to]) => box(type, short(id), short(to.length), ...to.map(short))),
  );
  let [at, index] = [from, 0];
  const locations = items.map(({ id, data }) => {
    at += data.length;
    return Buffer.concat([short(id), short(0), short(1), long(at - data.length), long(data.length)]);
  });
  const associations = items.map(({ id, properties: own }) => {
    const each = own.map((property) => (essential.has(property.toString('latin1', 4, 8)) ? 0x8000 : 0) | ++index);
    return Buffer.concat([short(id), Buffer.from([own.length]), ...each.map(short)]);
  });
  const entries = items.map(({ id, type, hidden }) =>
    full('infe', 2, hidden ? 1 : 0, short(id), short(0), Buffer.from(`${type}\0`, 'latin1')),
  );
  return full(
    'meta',
    0,
    0,
    full('hdlr', 0, 0, long(0), Buffer.from('pict'), Buffer.alloc(13)),
    full('pitm', 0, 0, short(primary)),
    full('iloc', 0, 0, Buffer.from([0x44, 0]), short(items.length), ...locations),
    full('iinf', 0, 0, short(items.length), ...entries),
    ...(references.length > 0 ? [full('iref', 0, 0, ...references)] : []),
    box('iprp', box('ipco', ...properties), full('ipma', 0, 1, long(items.length), ...associations)),
  );
}

function box(type: string, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([long(8 + body.length), Buffer.from(type, 'latin1'), body]);
}

const full = (type: string, version: number, flags: number, ...parts: Buffer[]) =>
  box(type, long((version << 24) | flags), ...parts);

function short(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function long(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value | 0);
  return bytes;
}
