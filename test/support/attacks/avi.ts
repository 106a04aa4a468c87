/**
 * An AVI file with a stream of text, whose one packet holds `subtitles` as GAB2 does. ffmpeg once opened them with
 * whatever demuxer they looked like: https://hackerone.com/reports/242831
 */
export function aviWithSubtitles(subtitles: string): Buffer {
  const header = Buffer.alloc(56);
  header.writeUInt32LE(40_000, 0);
  header.writeUInt32LE(1, 24);
  const stream = Buffer.alloc(56);
  stream.write('txts', 'latin1');
  stream.writeUInt32LE(1, 20);
  stream.writeUInt32LE(1, 24);
  stream.writeUInt32LE(1, 32);
  const text = Buffer.from(subtitles);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(text.length);
  const gab2 = Buffer.concat([Buffer.from('GAB2\0\x02\0\x02\0\0\0x\0\x04\0', 'latin1'), size, text]);
  return chunk('RIFF', 'AVI ', [
    chunk('LIST', 'hdrl', [
      chunk('avih', '', [header]),
      chunk('LIST', 'strl', [chunk('strh', '', [stream]), chunk('strf', '', [])]),
    ]),
    chunk('LIST', 'movi', [chunk('00tx', '', [gab2])]),
  ]);
}

/** A chunk of RIFF: its name, its size, its form where it is a list, what it holds. */
function chunk(name: string, form: string, parts: Buffer[]): Buffer {
  const content = Buffer.concat([Buffer.from(form, 'latin1'), ...parts]);
  const head = Buffer.alloc(8);
  head.write(name, 'latin1');
  head.writeUInt32LE(content.length, 4);
  return Buffer.concat([head, content, Buffer.alloc(content.length % 2)]);
}
