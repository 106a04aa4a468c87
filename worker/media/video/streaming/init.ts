/** What players must know of a stream before they load any of it. */
export type Init = {
  /** RFC 6381, such as `avc1.64001f`. */
  codec: string;
  /** Ticks per second. */
  timescale: number;
};

const media = ['moov', 'trak', 'mdia'];
const samples = [...media, 'minf', 'stbl', 'stsd'];

/**
 * Reads the initialisation segment of one stream. Its boxes are defined in ISO/IEC 14496-12.
 * @throws RangeError if it is incomplete
 */
export function readInit(file: Buffer): Init {
  const mdhd = boxAt(file, [...media, 'mdhd']);
  // In version 1, times of 64 bits come before it.
  const timescale = mdhd.readUInt32BE(mdhd[0] === 1 ? 20 : 12);
  const stsd = boxAt(file, samples).subarray(8);
  switch (stsd.toString('latin1', 4, 8)) {
    case 'avc1': {
      const avcC = boxAt(boxAt(stsd, ['avc1']).subarray(78), ['avcC']);
      return { codec: `avc1.${avcC.toString('hex', 1, 4)}`, timescale };
    }
    case 'mp4a':
      // ffmpeg's own encoder makes only AAC LC.
      return { codec: 'mp4a.40.2', timescale };
    default:
      throw new RangeError('an initialisation segment of neither H.264 nor AAC');
  }
}

/** The content of the first box at a path of boxes. */
function boxAt(bytes: Buffer, path: string[]): Buffer {
  const [name, ...rest] = path;
  if (name === undefined) return bytes;
  for (let at = 0; at + 8 <= bytes.length;) {
    const size = bytes.readUInt32BE(at);
    if (size < 8) break;
    if (bytes.toString('latin1', at + 4, at + 8) === name) return boxAt(bytes.subarray(at + 8, at + size), rest);
    at += size;
  }
  throw new RangeError(`no box ${name}`);
}
