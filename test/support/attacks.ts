import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { canary, make, materials, type Files, type Materials } from './attacks/materials.ts';
import { box, readBoxes, writeBoxes } from './attacks/mp4.ts';
import { excessive } from './attacks/numbers.ts';
import { references } from './attacks/references.ts';
import { playlists, sdp, texts } from './attacks/texts.ts';

/**
 * Files that want something else of whoever reads them than to be read. All that is secret is under `secrets`, and says
 * `canary`.
 */
export type Attack = {
  name: string;
  path: string;
  /** It is no video or sound: whoever takes it for one reads what he should not. */
  refused: boolean;
};

/**
 * Writes them all below `dir`.
 * @param port of a listener on loopback that is not to hear of anybody
 */
export async function attacks(dir: string, port: number): Promise<Attack[]> {
  const secrets = join(dir, 'secrets');
  const made = join(dir, 'attacks');
  for (const folder of [secrets, made]) await mkdir(folder, { recursive: true });
  await writeSecrets(secrets);
  const base = await materials(dir);
  const files = [
    { files: playlists(secrets, `http://127.0.0.1:${port}`), refused: true },
    { files: { ...otherFormats(base), 'session.sdp': sdp(port), ...texts(secrets, port) }, refused: true },
    { files: { ...noMedia(), ...broken(base) }, refused: false },
    { files: { ...references(base, secrets, port), ...excessive(base), ...polyglots(base) }, refused: false },
  ];
  const all: Attack[] = [];
  for (const group of files)
    for (const [name, bytes] of Object.entries(group.files)) {
      // In a folder of its own, with something to read beside it.
      const folder = join(made, name);
      await mkdir(folder);
      const path = join(folder, 'in.mp4');
      await writeFile(path, bytes);
      await writeFile(join(folder, 'beside.ts'), await readFile(join(secrets, 'canary.ts')));
      await writeFile(join(folder, 'beside.txt'), canary);
      all.push({ name, path, refused: group.refused });
    }
  return all;
}

async function writeSecrets(dir: string): Promise<void> {
  await writeFile(join(dir, 'canary.txt'), `${canary}\n`.repeat(100));
  const source = ['-f', 'lavfi', '-i', 'color=magenta:s=64x64:r=10:d=1', '-f', 'lavfi', '-i', 'sine=d=1'];
  const coding = ['-c:v', 'libx264', '-preset', 'ultrafast', '-c:a', 'aac', '-metadata', `title=${canary}`];
  for (const name of ['canary.ts', 'canary.mp4']) await make([...source, ...coding, join(dir, name)]);
  await make(['-f', 'lavfi', '-i', 'color=magenta:s=64x64', '-frames:v', '1', join(dir, 'canary.png')]);
  const nested = `#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n${join(dir, 'canary.ts')}\n#EXT-X-ENDLIST\n`;
  await writeFile(join(dir, 'nested.m3u8'), nested);
}

/** Media, of formats that nobody sends, or that are pictures. */
function otherFormats({ mxf, nut, y4m, gif, ivf, png }: Materials): Files {
  return { mxf, nut, y4m, gif, ivf, png, 'raw picture of vips': vips() };
}

/** libvips's own format, which says itself how large it is. */
function vips(): Buffer {
  const bytes = Buffer.alloc(64 + 300);
  [0x08f2a6b6, 10, 10, 3, 8, 0, 0, 22].forEach((value, index) => bytes.writeInt32BE(value, index * 4));
  return bytes;
}

function noMedia(): Files {
  const deflated = deflateRawSync(Buffer.alloc(1e6));
  const zip = Buffer.alloc(30 + 1);
  zip.write('PK\x03\x04', 'latin1');
  zip.writeUInt16LE(8, 8);
  zip.writeUInt32LE(deflated.length, 18);
  zip.writeUInt32LE(1e6, 22);
  zip.writeUInt16LE(1, 26);
  return {
    nothing: '',
    'one byte': '\0',
    noise: randomBytes(100_000),
    zeros: Buffer.alloc(500_000),
    ones: Buffer.alloc(500_000, 0xff),
    zip: Buffer.concat([zip, deflated]),
    elf: Buffer.concat([Buffer.from('\x7fELF\x02\x01\x01', 'latin1'), randomBytes(5_000)]),
  };
}

/** Cut off, overwritten, and with noise before it. */
function broken({ mp4, webm, mp3, flac }: Materials): Files {
  const noisy = (bytes: Buffer) => {
    const copy = Buffer.from(bytes);
    for (let at = 100; at < copy.length; at += 97) copy[at] = at % 251;
    return copy;
  };
  return {
    'mp4 cut off': mp4.subarray(0, mp4.length / 2),
    'webm cut off': webm.subarray(0, webm.length / 2),
    'mp4 overwritten': noisy(mp4),
    'webm overwritten': noisy(webm),
    'flac overwritten': noisy(flac),
    'mp3 after noise': Buffer.concat([randomBytes(60_000).map((byte) => byte & 0x7f), mp3]),
  };
}

/** True media that is something else too, or carries it. None of it may come out again. */
function polyglots(base: Materials): Files {
  const page = `<!doctype html><script>alert('${canary}')</script>`;
  const jpeg = base.mjpeg.subarray(base.mjpeg.indexOf('ffd8', 0, 'hex'), base.mjpeg.indexOf('ffd9', 0, 'hex') + 2);
  const boxes = readBoxes(base.mp4);
  return {
    'jpeg, then mp4': Buffer.concat([jpeg, base.mp4]),
    'mp4, then a page': Buffer.concat([base.mp4, Buffer.from(page)]),
    'mp4 with a page in it': writeBoxes([
      ...boxes.slice(0, -1),
      box('free', Buffer.from(page)),
      box('uuid', Buffer.from(page.padEnd(80))),
      ...boxes.slice(-1),
    ]),
    'a page, then mp3': Buffer.concat([Buffer.from(page), base.mp3]),
    'matroska with stowaways': base.stowaways,
  };
}
