import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { checkStructure, type Structure } from '../../../worker/media/image/structure/check.ts';
import type { Format } from '../../../worker/media/image/sniff.ts';

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rowmill-structure-'));
});
after(() => rm(dir, { recursive: true }));

async function check(format: Format, bytes: Buffer): Promise<Structure> {
  const path = join(dir, format);
  await writeFile(path, bytes);
  return checkStructure(path, format);
}
const blue = { create: { width: 4, height: 4, channels: 3, background: 'blue' } } as const;
const refused = (words: RegExp) => ({ name: 'PermanentError', code: 'image_too_large', message: words });

/** A PNG with so many text blocks, each of which inflates to 8 MB. */
async function pngWithTexts(count: number, type: string): Promise<Buffer> {
  const png = await sharp(blue).png().toBuffer();
  const data = Buffer.concat([Buffer.from('key\0\0'), deflateSync(Buffer.alloc(7_900_000, 'A'))]);
  const body = Buffer.concat([Buffer.from(type), data]);
  const chunk = Buffer.alloc(body.length + 8);
  chunk.writeUInt32BE(data.length, 0);
  body.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(body), body.length + 4);
  const afterHeader = 8 + 25;
  return Buffer.concat([png.subarray(0, afterHeader), ...Array<Buffer>(count).fill(chunk), png.subarray(afterHeader)]);
}

function webpWithFrames(count: number): Buffer {
  const frame = Buffer.alloc(8 + 16);
  frame.write('ANMF');
  frame.writeUInt32LE(15, 4); // odd, so that the padding counts
  const head = Buffer.concat([Buffer.from('RIFF'), Buffer.alloc(4), Buffer.from('WEBP')]);
  return Buffer.concat([head, ...Array<Buffer>(count).fill(frame)]);
}

function gifWithFrames(count: number): Buffer {
  const head = Buffer.from('GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff', 'latin1');
  const control = Buffer.from('\x21\xf9\x04\x00\x00\x00\x00\x00', 'latin1');
  const frame = Buffer.from('\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00', 'latin1');
  return Buffer.concat([head, ...Array.from({ length: count }, () => [control, frame]).flat(), Buffer.from(';')]);
}

for (const type of ['zTXt', 'iTXt', 'iCCP'])
  test(`a PNG with hundreds of ${type} blocks is refused before anything inflates them`, async () => {
    await check('png', await pngWithTexts(16, type));
    await assert.rejects(check('png', await pngWithTexts(17, type)), refused(/PNG has more than 16 text blocks/));
  });

test('a WebP and a GIF of more frames than anybody makes are refused', async () => {
  await check('webp', webpWithFrames(5_000));
  await assert.rejects(check('webp', webpWithFrames(5_001)), refused(/WebP has more than 5,000 frames/));
  await check('gif', gifWithFrames(5_000));
  await assert.rejects(check('gif', gifWithFrames(5_001)), refused(/GIF has more than 5,000 frames/));
});

test('a JPEG or a PNG that is mostly metadata is refused', async () => {
  const jpeg = await sharp(blue).jpeg().toBuffer();
  const segment = Buffer.concat([Buffer.from([0xff, 0xed, 0xff, 0xff]), Buffer.alloc(65_533)]);
  const jpegWith = (count: number) =>
    Buffer.concat([jpeg.subarray(0, 2), ...Array<Buffer>(count).fill(segment), jpeg.subarray(2)]);
  await check('jpeg', jpegWith(300));
  await assert.rejects(check('jpeg', jpegWith(310)), refused(/JPEG has more than 20 MB of metadata/));

  const png = await sharp(blue).png().toBuffer();
  const text = Buffer.concat([Buffer.alloc(4), Buffer.from('tEXt'), Buffer.alloc(21_000_000), Buffer.alloc(4)]);
  text.writeUInt32BE(21_000_000, 0);
  await assert.rejects(
    check('png', Buffer.concat([png.subarray(0, 33), text, png.subarray(33)])),
    refused(/PNG has more than 20 MB/),
  );
});

test('how a JPEG is subsampled is read from its frame, and one that libjpeg does not decode is named', async () => {
  for (const progressive of [false, true]) {
    const jpeg = await sharp(blue).jpeg({ progressive }).toBuffer();
    const frame = jpeg.indexOf(Buffer.from([0xff, progressive ? 0xc2 : 0xc0]));
    const changed = (at: number, value: number) => Buffer.from(jpeg).fill(value, frame + at, frame + at + 1);
    // The first of three channels: how often it is sampled, across and down, for one time of the others.
    for (const [factors, samplesPerPixel] of [
      [0x22, 1.5],
      [0x21, 2],
      [0x12, 2],
      [0x41, 1.5],
      [0x11, 3],
    ] as const)
      assert.deepEqual(await check('jpeg', changed(11, factors)), { cut: false, samplesPerPixel });
    const unsupported = { name: 'PermanentError', code: 'unsupported_image_format' };
    await assert.rejects(check('jpeg', changed(4, 12)), { ...unsupported, message: /12 bits/ });
    await assert.rejects(check('jpeg', changed(1, 0xc3)), { ...unsupported, message: /lossless/ });
  }
});

test('honest pictures pass, whole or cut off anywhere', async () => {
  const pages = await sharp({ create: { width: 9, height: 30, channels: 4, background: '#1234' } })
    .raw()
    .toBuffer();
  const animation = sharp(pages, { raw: { width: 9, height: 30, channels: 4, pageHeight: 10 } });
  const pictures: [Format, Buffer][] = [
    ['png', await sharp(blue).withIccProfile('p3').png().toBuffer()],
    ['gif', await animation.clone().gif().toBuffer()],
    ['webp', await animation.clone().webp().toBuffer()],
    ['jpeg', await sharp(blue).jpeg().toBuffer()],
    ['avif', await sharp(blue).avif().toBuffer()],
    ['tiff', await sharp(blue).tiff().toBuffer()],
  ];
  for (const [format, bytes] of pictures)
    for (let length = 0; length <= bytes.length; length++) {
      const { cut } = await check(format, bytes.subarray(0, length));
      // Not to be told apart: a JPEG's scans, boxes of an AVIF that are not there, the byte that pads a WebP, the last
      // checksum of a PNG.
      const sure = { png: 5, gif: 1, webp: 2, tiff: 9, jpeg: Infinity, avif: Infinity, heic: Infinity }[format];
      if (length === bytes.length) assert.equal(cut, false, format);
      else if (length > 40 && bytes.length - length >= sure) assert.equal(cut, true, `${length} bytes of a ${format}`);
    }
});
