import sharp from 'sharp';
import type { Case, Made } from './made.ts';
import {
  auxiliaryAlpha,
  cleanAperture,
  coded,
  colour,
  gridItem,
  heif,
  itemOf,
  mirror,
  profileColour,
  rotation,
  srgbNclx,
  type Chroma,
  type Codec,
  type CodedOptions,
  type Nclx,
} from './heif.ts';
import { adobeRgb, greyProfile, rgbProfile, srgb, swapped } from './icc.ts';
import { exif, png, type PngOptions } from './png.ts';
import { scenePixels, size } from './scene.ts';

type Write = (codec: Codec) => Promise<Buffer>;
type Description = { name: string; write: Write; within?: number; twin?: () => Promise<Buffer>; only?: Codec };

/**
 * How one picture is coded; what the file says of its colours, unless it is to say nothing; and its transformations.
 */
type Single = Omit<CodedOptions, 'codec'> & { colr?: Nclx | Buffer | 'none'; properties?: Buffer[] };

const single = (name: string, options: Single = {}, within?: number): Description => ({
  name,
  write: async (codec) => brandOf(codec, [await itemFor(codec, options)]),
  ...(within === undefined ? {} : { within }),
});

async function itemFor(codec: Codec, { colr, properties = [], ...options }: Single) {
  const told = colr ?? options.nclx ?? srgbNclx;
  const own = told === 'none' ? [] : [Buffer.isBuffer(told) ? profileColour(told) : colour(told)];
  return itemOf(1, await coded({ codec, ...options }), ...own, ...properties);
}

const brandOf = (codec: Codec, ...rest: [Parameters<typeof heif>[1], number?]) =>
  heif(codec === 'av1' ? 'avif' : 'heic', ...rest);

const chromas: Chroma[] = ['420', '422', '444', 'grey'];
const depths = [8, 10, 12] as const;
const ranges = [true, false];
const rangeName = (full: boolean) => (full ? 'full range' : 'limited range');
const nclx = (some: Partial<Nclx>): Nclx => ({ ...srgbNclx, ...some });

/** Range and depth with each way to store colours; the same where the file is silent, or its bitstream is. */
const samplings = chromas.flatMap((chroma) =>
  depths.flatMap((depth) =>
    ranges.map((full) => ({
      ...single(`${chroma}, ${depth} bits, ${rangeName(full)}`, { chroma, depth, nclx: nclx({ full }) }),
      ...(depth === 12 ? { only: 'av1' as const } : {}),
    })),
  ),
);
const silent = (['420', 'grey'] as const).flatMap((chroma) =>
  ranges.flatMap((full) => [
    single(`${chroma}, ${rangeName(full)}, told by the bitstream alone`, {
      chroma,
      nclx: nclx({ full }),
      colr: 'none',
    }),
    single(`${chroma}, ${rangeName(full)}, told by colr alone`, { chroma, nclx: nclx({ full }), untold: true }),
  ]),
);
const unsaid = ranges.map((full) =>
  single(`${rangeName(full)}, and nothing more is said`, { nclx: nclx({ full }), untold: true, colr: 'none' }),
);
const matrices = ranges.flatMap((full) =>
  [1, 5, 6, 9].map((matrix) => single(`matrix ${matrix}, ${rangeName(full)}`, { nclx: nclx({ matrix, full }) })),
);

/** Tone mapping is a matter of taste, within bounds. */
const transfers = ([8, 10] as const).flatMap((depth) => [
  ...[1, 4, 6, 8, 13].map((transfer) =>
    single(`transfer ${transfer}, ${depth} bits`, { depth, nclx: nclx({ transfer }) }, transfer === 8 ? 6 : 4),
  ),
  ...[16, 18].flatMap((transfer) =>
    ranges.map((full) =>
      single(
        `transfer ${transfer}, ${depth} bits, ${rangeName(full)}`,
        { depth, most: 0.6, nclx: { primaries: 9, transfer, matrix: 9, full } },
        10,
      ),
    ),
  ),
]);
const primaries = [1, 9, 12].map((number) => single(`primaries ${number}`, { nclx: nclx({ primaries: number }) }, 4));
/** Chromium 156 shows no AVIF with a profile for grey, so it is shown a profile for RGB that says the same. */
const greyOfGamma1 = (name: string, options: Single): Description => ({
  ...single(`${name} with a profile of gamma 1`, { ...options, chroma: 'grey', colr: greyProfile(1) }),
  twin: () => single('', { ...options, chroma: 'grey', colr: rgbProfile(srgb, 1) }).write('av1'),
});
const profiles = [
  single('profile with red and blue swapped', { colr: rgbProfile(swapped, 2.2) }),
  single('profile of linear light, 10 bits', { depth: 10, colr: rgbProfile(srgb, 1) }),
  single('profile of Adobe RGB, limited range', { nclx: nclx({ full: false }), colr: rgbProfile(adobeRgb, 2.2) }),
  greyOfGamma1('grey', {}),
  greyOfGamma1('grey of 10 bits', { depth: 10 }),
  greyOfGamma1('grey of limited range', { nclx: nclx({ full: false }) }),
  single('grey with a profile for RGB', { chroma: 'grey', colr: rgbProfile(swapped, 1) }),
  single('grey of limited range with a profile for RGB', {
    chroma: 'grey',
    nclx: nclx({ full: false }),
    colr: rgbProfile(swapped, 1),
  }),
  single('profile and nclx', { colr: rgbProfile(swapped, 2.2), properties: [colour(srgbNclx)] }),
];

const turns = [0, 1, 2, 3].flatMap((quarters) =>
  [undefined, 0, 1].map((axis) =>
    single(`${quarters} quarter turns${axis === undefined ? '' : `, mirrored ${axis}`}`, {
      properties: [rotation(quarters), ...(axis === undefined ? [] : [mirror(axis as 0 | 1)])],
    }),
  ),
);

/** Chromium shows no crop but one from the first corner, so it is shown the crop itself. */
const crops = [
  [32, 24, 0, 0],
  [40, 30, -4, 6],
  [17, 13, 21, -9],
].map(([width, height, right, down]): Description => ({
  name: `cropped to ${width} x ${height}, ${right! / 2} right and ${down! / 2} down of the middle`,
  write: single('', { chroma: '444', properties: [cleanAperture(width!, height!, right!, down!)] }).write,
  twin: () => {
    const left = Math.floor((size.width - width! + right!) / 2);
    const top = Math.floor((size.height - height! + down!) / 2);
    const scene = sharp(scenePixels(3), { raw: { ...size, channels: 3 } });
    return scene.extract({ left, top, width: width!, height: height! }).png().toBuffer();
  },
}));

/**
 * Chromium takes opacity in an AVIF for limited range, which it never is, so it is shown the same in a PNG. AVIF 1.1,
 * 4.1
 */
const withAlpha = (
  name: string,
  main: Single = {},
  alpha: Single = {},
  chunks: PngOptions['chunks'] = [],
): Description => ({
  twin: async () => (main.chroma === 'grey' ? lumaPng() : png({ colour: 6, depth: 8, chunks })),
  name: `with opacity${name}`,
  write: async (codec) => {
    const picture = await itemFor(codec, main);
    const opacity = await coded({ codec, chroma: 'grey', opacity: true, ...alpha });
    const item = itemOf(2, opacity, auxiliaryAlpha(codec), ...(main.properties ?? []));
    return brandOf(codec, [picture, { ...item, hidden: true, references: [['auxl', [1]]] }], 1);
  },
});
/** The scene without its chroma. Rec. ITU-R BT.601 */
function lumaPng(): Promise<Buffer> {
  const data = scenePixels(4);
  for (let at = 0; at < data.length; at += 4)
    data.fill(Math.round(0.299 * data[at]! + 0.587 * data[at + 1]! + 0.114 * data[at + 2]!), at, at + 3);
  return sharp(data, { raw: { ...size, channels: 4 } })
    .png()
    .toBuffer();
}

const opacities = [
  withAlpha(''),
  withAlpha(' of 10 bits', { depth: 10 }, { depth: 10 }),
  withAlpha(', grey', { chroma: 'grey' }),
  withAlpha(', limited range', { nclx: nclx({ full: false }) }),
  withAlpha(', turned', { properties: [rotation(1)] }, {}, [exif(8)]),
];

const grid = (
  name: string,
  hidden: boolean,
  wanted: { width: number; height: number },
  properties: Buffer[] = [],
  some: Single = {},
): Description => ({
  name: `in tiles${name}`,
  write: async (codec) => {
    const canvas = { width: 128, height: 128 };
    const corners = [
      [0, 0],
      [64, 0],
      [0, 64],
      [64, 64],
    ] as const;
    const tiles = await Promise.all(
      corners.map(async ([left, top], n) => {
        const part = { left, top, width: 64, height: 64 };
        const tile = itemOf(n + 2, await coded({ codec, canvas, part, ...some }), colour(some.nclx ?? srgbNclx));
        return { ...tile, hidden };
      }),
    );
    const whole = gridItem(1, tiles, { rows: 2, columns: 2, ...wanted }, colour(some.nclx ?? srgbNclx), ...properties);
    return brandOf(codec, [whole, ...tiles], 1);
  },
});
const grids = [
  grid('', true, { width: 128, height: 128 }),
  grid(' that are not hidden', false, { width: 128, height: 128 }),
  grid(', cut off', true, { width: 100, height: 90 }),
  grid(', turned', true, { width: 128, height: 90 }, [rotation(3)]),
  grid(', limited range, 10 bits', true, { width: 128, height: 128 }, [], { depth: 10, nclx: nclx({ full: false }) }),
];

const several: Description[] = [
  {
    name: 'the second of two',
    write: async (codec) => {
      const other = await coded({ codec, opacity: true, canvas: { width: 80, height: 80 } });
      const main = await coded({ codec });
      return brandOf(codec, [itemOf(1, other, colour(srgbNclx)), itemOf(2, main, colour(srgbNclx))], 2);
    },
  },
  {
    name: 'with a thumbnail before it',
    write: async (codec) => {
      const small = itemOf(1, await coded({ codec, canvas: { width: 64, height: 64 } }), colour(srgbNclx));
      return brandOf(
        codec,
        [{ ...small, references: [['thmb', [2]]] }, itemOf(2, await coded({ codec }), colour(srgbNclx))],
        2,
      );
    },
  },
  { ...single('odd sides', { canvas: { width: 65, height: 51 } }), only: 'av1' },
  single('odd sides, 4:4:4', { chroma: '444', canvas: { width: 67, height: 71 } }),
];

const descriptions: Description[] = [
  single('grey, limited range', { chroma: 'grey', nclx: nclx({ full: false }) }),
  grid(' that are not hidden, limited range', false, { width: 128, height: 100 }, [], { nclx: nclx({ full: false }) }),
  ...samplings,
  ...silent,
  ...unsaid,
  ...matrices,
  single('stored as RGB', { chroma: 'gbr', nclx: nclx({ matrix: 0 }) }),
  single('stored as RGB, 10 bits', { chroma: 'gbr', depth: 10, nclx: nclx({ matrix: 0 }) }),
  ...transfers,
  ...primaries,
  ...profiles,
  ...turns,
  ...crops,
  ...opacities,
  ...grids,
  ...several,
];

const caseOf =
  (codec: Codec) =>
  ({ name, write, twin, within }: Description): Case => ({
    name,
    async make(): Promise<Made> {
      const file = await write(codec);
      // Of a HEIC file the browser is shown the same as AVIF.
      const shown = twin ? await twin() : codec === 'hevc' ? await write('av1') : undefined;
      return { file, ...(shown ? { twin: shown } : {}) };
    },
    ...(within === undefined ? {} : { within }),
  });

const of = (codec: Codec) => descriptions.filter(({ only = codec }) => only === codec).map(caseOf(codec));
export const avif: Case[] = [...of('av1'), ...byLibheif()];
export const heic: Case[] = of('hevc');

/** What sharp writes, as another writer. */
function byLibheif(): Case[] {
  const scene = (channels: 3 | 4) => sharp(scenePixels(channels), { raw: { ...size, channels } });
  return ([8, 10, 12] as const).flatMap((bitdepth) =>
    (['4:2:0', '4:4:4'] as const).flatMap((chromaSubsampling) =>
      ([3, 4] as const).map((channels) => ({
        name: `of libheif, ${chromaSubsampling}, ${bitdepth} bits${channels === 4 ? ', with opacity' : ''}`,
        make: async () => ({
          file: await scene(channels).avif({ quality: 95, effort: 0, bitdepth, chromaSubsampling }).toBuffer(),
          twin: png({ colour: channels === 4 ? 6 : 2, depth: 8 }),
        }),
      })),
    ),
  );
}
