import { deflateRawSync } from 'node:zlib';
import type { Files, Materials } from './materials.ts';
import { box, findBoxes, readBoxes, writeBoxes, type Box } from './mp4.ts';

/** True files with numbers that are too large. */
export function excessive(base: Materials): Files {
  const changed = (bytes: Buffer, change: (boxes: Box[]) => void) => {
    const boxes = readBoxes(Buffer.from(bytes));
    change(boxes);
    return writeBoxes(boxes);
  };
  const count = (type: string, at: number) =>
    changed(base.mp4, (boxes) => findBoxes(boxes, type).forEach(({ body }) => body.writeUInt32BE(0xfffffff0, at)));
  const wav = Buffer.from(base.wav);
  wav.writeUInt32LE(0xffffffff, 4);
  wav.writeUInt32LE(0xffffffff, wav.indexOf('data') + 4);
  const jpeg = Buffer.from(base.mjpeg);
  for (let at = jpeg.indexOf('ffc0', 0, 'hex'); at >= 0; at = jpeg.indexOf('ffc0', at + 2, 'hex'))
    jpeg.fill(Buffer.from('fde8fde8', 'hex'), at + 5, at + 9);
  jpeg.fill(Buffer.from('e8fd0000e8fd0000', 'hex'), 64, 72);
  const vp8 = Buffer.from(base.webm);
  for (let at = vp8.indexOf('9d012a', 0, 'hex'); at >= 0; at = vp8.indexOf('9d012a', at + 3, 'hex'))
    vp8.fill(Buffer.from('ff3fff3f', 'hex'), at + 3, at + 7);
  let nested = box('moov', Buffer.alloc(0));
  for (let depth = 0; depth < 5_000; depth += 1) nested = box('moov', writeBoxes([nested]));
  return {
    'motion jpeg of 65000 x 65000': jpeg,
    'vp8 of 16383 x 16383': vp8,
    'mp4 of years': changed(base.mp4, (boxes) => {
      for (const type of ['mvhd', 'mdhd'])
        for (const { body } of findBoxes(boxes, type)) {
          body.writeUInt32BE(1, 12);
          body.writeUInt32BE(0xfffffff0, 16);
        }
    }),
    'mp4 whose first frame lasts': changed(base.mp4, (boxes) =>
      findBoxes(boxes, 'stts').forEach(({ body }) => body.writeUInt32BE(0x7fffffff, 12)),
    ),
    'mp4 of four thousand million times': count('stts', 4),
    'mp4 of four thousand million sizes': count('stsz', 8),
    'mp4 of four thousand million chunks': count('stco', 4),
    'wav without an end': wav,
    'mp4 of three thousand streams': changed(base.mp4, (boxes) => {
      const moov = boxes.find(({ type }) => type === 'moov')!;
      const track = writeBoxes(moov.boxes.filter(({ type }) => type === 'trak').slice(0, 1)).subarray(8);
      for (let id = 10; id < 3_010; id += 1) {
        const [copy] = [readBoxes(Buffer.from(track))];
        copy[0]!.body.writeUInt32BE(id, 12);
        moov.boxes.push({ type: 'trak', head: Buffer.alloc(0), boxes: copy, body: Buffer.alloc(0) });
      }
    }),
    'mp4 in mp4 in mp4': Buffer.concat([writeBoxes([box('ftyp', Buffer.from('isom\0\0\0\0isom', 'latin1')), nested])]),
    'mp4 that says it unpacks to two gigabytes': writeBoxes([
      box('ftyp', Buffer.from('qt  \0\0\0\0qt  ', 'latin1')),
      box('moov', Buffer.alloc(0), [
        box('cmov', Buffer.alloc(0), [
          box('dcom', Buffer.from('zlib')),
          box('cmvd', Buffer.concat([Buffer.from([0x7f, 0xff, 0xff, 0xff]), deflateRawSync(Buffer.alloc(1e6))])),
        ]),
      ]),
    ]),
    'id3 of two hundred megabytes': Buffer.concat([
      Buffer.from('ID3\x04\0\0\x7f\x7f\x7f\x7fAPIC\x7f\x7f\x7f\x7f\0\0', 'latin1'),
      base.mp3,
    ]),
  };
}
