import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Sharp } from 'sharp';
import { sharp } from './sharp.ts';

export type Sample = { name: string; about: string; broken: boolean };

/** Writes sample pictures into an existing folder, one of each kind that the worker supports. */
export async function makeSamples(dir: string): Promise<Sample[]> {
  return Promise.all(
    samples.map(async ({ name, about, broken = false, make }) => {
      await writeFile(join(dir, name), await make());
      return { name, about, broken };
    }),
  );
}

type Recipe = { name: string; about: string; broken?: boolean; make: () => Promise<Buffer> };

const samples: Recipe[] = [
  {
    name: 'sunset.jpg',
    about: 'JPEG, 1500 x 1000',
    make: () => canvas(1500, 1000, sunset).jpeg({ quality: 88 }).toBuffer(),
  },
  {
    name: 'hills-progressive.jpg',
    about: 'progressive JPEG, 1800 x 1100',
    make: () => canvas(1800, 1100, hills).jpeg({ quality: 88, progressive: true }).toBuffer(),
  },
  {
    name: 'phone-gps.jpg',
    about: 'JPEG from a phone held upright: lies on its side (EXIF orientation 6) and tells where it was taken',
    make: phonePhoto,
  },
  {
    name: 'rings.png',
    about: 'PNG with a transparent background, 1000 x 1000',
    make: () => canvas(1000, 1000, rings).png({ compressionLevel: 4 }).toBuffer(),
  },
  {
    name: 'weave.webp',
    about: 'WebP, 1200 x 1200',
    make: () => canvas(1200, 1200, weave).webp({ effort: 0 }).toBuffer(),
  },
  {
    name: 'orbit.gif',
    about: 'animated GIF, 12 frames; its first frame is published',
    make: orbitingGif,
  },
  {
    name: 'aurora.avif',
    about: 'AVIF, 1200 x 800',
    make: () => canvas(1200, 800, aurora).avif({ effort: 0, chromaSubsampling: '4:2:0' }).toBuffer(),
  },
  {
    name: 'mountains-15-megapixels.jpg',
    about: 'large JPEG, 4800 x 3200',
    make: () => canvas(4800, 3200, dusk, 10).jpeg({ quality: 90 }).toBuffer(),
  },
  {
    name: 'scan.tif',
    about: 'TIFF as scanners write it, 1400 x 900',
    make: () => canvas(1400, 900, lighthouse).tiff({ compression: 'lzw' }).toBuffer(),
  },
  {
    name: 'broken.jpg',
    about: 'JPEG that was cut off half way, broken on purpose',
    broken: true,
    make: async () => {
      const whole = await canvas(600, 400, sunset).jpeg().toBuffer();
      return whole.subarray(0, whole.length / 2);
    },
  },
];

/** Red, green, blue and opacity, each 0 to 255; `x` and `y` from 0 to 1. */
type Paint = (x: number, y: number) => readonly [number, number, number, number?];

/** Painted this many times smaller and then enlarged: painting takes most of the time. */
function canvas(width: number, height: number, paint: Paint, smaller = 2): Sharp {
  const [across, down] = [width / smaller, height / smaller];
  const data = Buffer.alloc(across * down * 4);
  for (let y = 0, at = 0; y < down; y++)
    for (let x = 0; x < across; x++, at += 4) {
      const [r, g, b, a = 255] = paint(x / across, y / down);
      data[at] = clamp(r);
      data[at + 1] = clamp(g);
      data[at + 2] = clamp(b);
      data[at + 3] = clamp(a);
    }
  const picture = sharp(data, { raw: { width: across, height: down, channels: 4 } });
  const enlarged = picture.resize(width, height, { kernel: 'linear' });
  return paint === rings ? enlarged : enlarged.removeAlpha();
}

async function phonePhoto(): Promise<Buffer> {
  const upright = await canvas(900, 1200, lighthouse).png({ compressionLevel: 1 }).toBuffer();
  return sharp(upright)
    .rotate(-90)
    .jpeg({ quality: 88 })
    .withExif({
      IFD0: { Make: 'Rowmill', Model: 'Sample phone', Orientation: '6' },
      IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '52/1 31/1 7/1', GPSLongitudeRef: 'E', GPSLongitude: '13/1 24/1 36/1' },
    })
    .withMetadata({ orientation: 6 })
    .toBuffer();
}

async function orbitingGif(): Promise<Buffer> {
  const [width, height, frames] = [360, 270, 12];
  const reel = await Promise.all(
    Array.from({ length: frames }, (_, i) =>
      canvas(width, height, orbit((i / frames) * 2 * Math.PI))
        .raw()
        .toBuffer(),
    ),
  );
  return sharp(Buffer.concat(reel), { raw: { width, height: height * frames, channels: 3, pageHeight: height } })
    .gif({ delay: Array<number>(frames).fill(80), loop: 0, effort: 1 })
    .toBuffer();
}

const sunset: Paint = (x, y) => {
  const sun = Math.hypot((x - 0.62) * 1.5, y - 0.52);
  if (y > 0.68) {
    const wave = Math.sin(y * 260 + Math.sin(x * 40) * 2) * 18 + 90 * Math.exp(-Math.abs(x - 0.62) * (9 - y * 6));
    return [70 + wave * 1.5, 50 + wave, 90 + wave * 0.4];
  }
  if (sun < 0.11) return [255, 236, 170];
  const glow = 190 * Math.exp(-sun * 3.2);
  return [120 + y * 150 + glow, 50 + y * 100 + glow * 0.7, 110 - y * 40 + glow * 0.2];
};

const ridge = (x: number, seed: number) =>
  Math.sin(x * 5 + seed) * 0.06 + Math.sin(x * 13 + seed * 3) * 0.025 + Math.sin(x * 41 + seed * 7) * 0.008;

const hills: Paint = (x, y) => {
  for (let layer = 4; layer >= 0; layer--)
    if (y > 0.32 + layer * 0.13 + ridge(x, layer * 2.3))
      return [60 + (4 - layer) * 30, 110 + (4 - layer) * 26, 60 + (4 - layer) * 38];
  return [150 + y * 120, 200 + y * 70, 240];
};

const dusk: Paint = (x, y) => {
  for (let layer = 3; layer >= 0; layer--)
    if (y > 0.4 + layer * 0.14 + ridge(x * 1.4, layer * 4.1) * 1.6)
      return [30 + (3 - layer) * 26, 26 + (3 - layer) * 22, 60 + (3 - layer) * 30];
  return [60 + y * 330, 50 + y * 160, 130 - y * 30];
};

const rings: Paint = (x, y) => {
  const radius = Math.hypot(x - 0.5, y - 0.5);
  const angle = Math.atan2(y - 0.5, x - 0.5);
  const solid = 127 + 900 * Math.sin(radius * 50 + angle);
  return [
    128 + 127 * Math.sin(angle),
    128 + 127 * Math.sin(angle + 2.1),
    128 + 127 * Math.sin(angle + 4.2),
    radius < 0.48 ? solid : 0,
  ];
};

const weave: Paint = (x, y) => {
  const across = Math.sin(x * 60 + Math.sin(y * 9) * 3);
  const down = Math.sin(y * 60 + Math.sin(x * 9) * 3);
  return across > down
    ? [30 + across * 30, 130 + across * 50, 150 + across * 60]
    : [230, 150 + down * 60, 70 + down * 40];
};

const aurora: Paint = (x, y) => {
  const veil =
    Math.exp(-(((y - 0.45 - ridge(x, 1) * 2.5) * 4) ** 2)) * (0.6 + 0.4 * Math.sin(x * 70 + Math.sin(x * 23) * 2));
  return [10 + veil * 60 + y * 20, 16 + veil * 210, 50 + veil * 110 + (1 - y) * 30];
};

const lighthouse: Paint = (x, y) => {
  if (y > 0.86 + ridge(x, 5) * 0.5) return [50, 80 - y * 30, 70];
  const half = 0.06 + (y - 0.3) * 0.07;
  if (y > 0.3 && Math.abs(x - 0.5) < half) return Math.floor(y * 12) % 2 ? [206, 50, 46] : [240, 238, 232];
  if (y > 0.24 && y <= 0.3 && Math.abs(x - 0.5) < 0.045) return [255, 226, 120];
  const away = Math.abs(x - 0.5);
  const beam = Math.abs(y - 0.27) < away * 0.18 ? 90 * (1 - away * 2) : 0;
  return [90 + y * 110 + beam, 130 + y * 80 + beam, 190 + y * 30 + beam * 0.4];
};

const orbit =
  (angle: number): Paint =>
  (x, y) => {
    if (Math.hypot((x - 0.5) * 1.33, y - 0.5) < 0.14) return [250, 200, 70];
    const planet = Math.hypot((x - 0.5 - 0.36 * Math.cos(angle)) * 1.33, y - 0.5 - 0.32 * Math.sin(angle));
    return planet < 0.07 ? [90, 170, 250] : [18, 20, 44];
  };

const clamp = (value: number) => Math.max(0, Math.min(255, Math.round(value)));
