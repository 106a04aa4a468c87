import { aviWithSubtitles } from './avi.ts';
import type { Files, Materials } from './materials.ts';
import { box, findBoxes, readBoxes, writeBoxes, type Box } from './mp4.ts';

/** True files that name others from within. */
export function references(base: Materials, secrets: string, port: number): Files {
  const referring = (entry: Box) => {
    const boxes = readBoxes(base.mp4);
    for (const dref of findBoxes(boxes, 'dref')) dref.boxes = [entry];
    return writeBoxes(boxes);
  };
  const address = (text: string) => box('url ', Buffer.from(`\0\0\0\0${text}\0`, 'latin1'));
  const hls = `#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n${secrets}/canary.ts\n#EXT-X-ENDLIST\n`;
  return {
    'mov whose data is in a file': referring(address(`file://${secrets}/canary.mp4`)),
    'mov whose data is at an address': referring(address(`http://127.0.0.1:${port}/a.mp4`)),
    'mov whose data is under an alias': referring(alias(`${secrets}/canary.mp4`)),
    'mov whose data is beside it': referring(alias('beside.ts')),
    'reference movie': writeBoxes([
      box('ftyp', Buffer.from('qt  \0\0\0\0qt  ', 'latin1')),
      box('moov', Buffer.alloc(0), [
        box('rmra', Buffer.alloc(0), [
          box('rmda', Buffer.alloc(0), [
            box('rdrf', Buffer.from(`\0\0\0\0url \0\0\0\x40http://127.0.0.1:${port}/a.mov\0`, 'latin1')),
          ]),
        ]),
      ]),
    ]),
    'avi whose subtitles are a playlist': aviWithSubtitles(hls),
    'avi whose subtitles are a concat': aviWithSubtitles(`ffconcat version 1.0\nfile ${secrets}/canary.ts\n`),
  };
}

/** An alias of the Macintosh, with the path where the demuxer of ffmpeg looks for it. */
function alias(path: string): Box {
  const head = Buffer.alloc(4 + 150);
  head.writeUInt16BE(2, 4 + 6);
  head.writeUInt8(7, 4 + 10);
  head.write('\x07Macbook', 4 + 10, 'latin1');
  const name = Buffer.from(path);
  const entry = (type: number, bytes: Buffer) => {
    const start = Buffer.alloc(4);
    start.writeInt16BE(type);
    start.writeUInt16BE(bytes.length, 2);
    return Buffer.concat([start, bytes, Buffer.alloc(bytes.length % 2)]);
  };
  const body = Buffer.concat([head, entry(2, name), entry(18, name), entry(-1, Buffer.alloc(0))]);
  body.writeUInt16BE(body.length - 4, 4 + 4);
  return box('alis', body);
}
