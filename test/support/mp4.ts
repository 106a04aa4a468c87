/** MP4 files by hand, with a track of sound: what ffmpeg does not write, and devices do. ISO/IEC 14496-12 */

const number32 = (...values: number[]) => {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [n, value] of values.entries()) bytes.writeUInt32BE(value, 4 * n);
  return bytes;
};
const number16 = (...values: number[]) => Buffer.from(values.flatMap((value) => [value >> 8, value & 255]));
const matrix = number32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000);

function box(type: string, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([number32(body.length + 8), Buffer.from(type, 'latin1'), body]);
}

/** The entry of a table of sample descriptions, with what follows its common fields. 12.2.3 */
function soundEntry(
  type: string,
  { channels = 1, bits = 16, rate }: { channels?: number; bits?: number; rate: number },
  ...inner: Buffer[]
) {
  return box(
    type,
    Buffer.alloc(6),
    number16(1),
    Buffer.alloc(8),
    number16(channels, bits, 0, 0),
    number32(rate * 65_536),
    ...inner,
  );
}

type Sound = {
  entry: Buffer;
  samples: Buffer[];
  /** Units a second, and how many of them a sample lasts. */
  timescale: number;
  ticks: number;
};

/** Of track 2, whose samples begin at an offset of the file; durations of the whole movie are in milliseconds. */
function trackOf({ entry, samples, timescale, ticks }: Sound, offset: number): Buffer {
  const duration = samples.length * ticks;
  const shown = Math.round((duration * 1_000) / timescale);
  return box(
    'trak',
    box('tkhd', number32(3, 0, 0, 2, 0, shown), Buffer.alloc(12), number16(0x100, 0), matrix, Buffer.alloc(8)),
    box(
      'mdia',
      box('mdhd', number32(0, 0, 0, timescale, duration), number16(0x55c4, 0)),
      box('hdlr', Buffer.alloc(8), Buffer.from('soun'), Buffer.alloc(13)),
      box(
        'minf',
        box('smhd', Buffer.alloc(8)),
        box('dinf', box('dref', number32(0, 1), box('url ', number32(1)))),
        box(
          'stbl',
          box('stsd', number32(0, 1), entry),
          box('stts', number32(0, 1, samples.length, ticks)),
          box('stsc', number32(0, 1, 1, samples.length, 1)),
          box('stsz', sizesOf(samples)),
          box('stco', number32(0, 1, offset)),
        ),
      ),
    ),
  );
}

/** One size for all samples, where they have one, as all PCM does. */
function sizesOf(samples: Buffer[]): Buffer {
  const sizes = samples.map(({ length }) => length);
  const same = sizes.every((size) => size === sizes[0]);
  return same ? number32(0, sizes[0]!, sizes.length) : number32(0, 0, sizes.length, ...sizes);
}

export function soundFile(sound: Sound): Buffer {
  const { samples, ticks, timescale } = sound;
  const shown = Math.round((samples.length * ticks * 1_000) / timescale);
  const head = [number32(0, 0, 0, 1_000, shown, 0x10000), number16(0x100), Buffer.alloc(10)];
  const mvhd = box('mvhd', ...head, matrix, Buffer.alloc(24), number32(3));
  const ftyp = box('ftyp', Buffer.from('isom\0\0\x02\0isomiso2mp41', 'latin1'));
  const moov = (offset: number) => box('moov', mvhd, trackOf(sound, offset));
  return Buffer.concat([ftyp, moov(ftyp.length + moov(0).length + 8), box('mdat', ...samples)]);
}

/** A second track behind the picture of a video whose index is at its end, as ffmpeg writes it. */
export function withSound(video: Buffer, sound: Sound): Buffer {
  const at = video.lastIndexOf('moov') - 4;
  const moov = (offset: number) => box('moov', video.subarray(at + 8), trackOf(sound, offset));
  return Buffer.concat([
    video.subarray(0, at),
    moov(video.length + trackOf(sound, 0).length + 8),
    box('mdat', ...sound.samples),
  ]);
}

/** AMR-NB as old phones record it: a second of 50 frames in each sample. RFC 4867; 3GPP TS 26.244, 6.5 */
export function amr(seconds: number): Sound {
  const damr = box('damr', Buffer.from('test'), Buffer.from([0, 0x81, 0xff, 0, 50]));
  // The mode of 12.2 kb/s, 31 bytes a frame.
  const frame = (n: number) => Buffer.from([0x3c, ...Array.from({ length: 31 }, (_, at) => (at * 37 + n * 11) & 255)]);
  const second = (n: number) => Buffer.concat(Array.from({ length: 50 }, (_, at) => frame(n * 50 + at)));
  const samples = Array.from({ length: seconds }, (_, n) => second(n));
  return { entry: soundEntry('samr', { rate: 8_000 }, damr), samples, timescale: 8_000, ticks: 8_000 };
}

/** A tone in PCM of 24 bits, the high byte first. ISO/IEC 23003-5 */
export function pcm(seconds: number, rate = 48_000): Sound {
  const pcmC = box('pcmC', number32(0), Buffer.from([0, 24]));
  const samples = Array.from({ length: seconds * rate }, (_, n) => {
    const bytes = Buffer.alloc(3);
    bytes.writeIntBE(Math.round(Math.sin((n * 2 * Math.PI * 440) / rate) * 4_000_000), 0, 3);
    return bytes;
  });
  return { entry: soundEntry('ipcm', { bits: 24, rate }, pcmC), samples, timescale: rate, ticks: 1 };
}
