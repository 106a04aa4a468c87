/** Sound in frames, one behind the other, without a container: MP3, and AAC in ADTS. */

/** The length of the part of a file that begins there; undefined if none does. */
export type LengthOf = (bytes: Buffer, at: number) => number | undefined;

/** The size of an ID3 tag with its header, and its footer if it has one. https://id3.org/id3v2.4.0-structure */
export function tagLength(head: Buffer): number {
  if (head.toString('latin1', 0, 3) !== 'ID3' || head.length < 10) return 0;
  const length = [6, 7, 8, 9].reduce((sum, at) => sum * 128 + (head[at]! & 0x7f), 0);
  return length + (head[5]! & 0x10 ? 20 : 10);
}

/** So many frames in a row are no accident. */
const inARow = 4;

export function areFrames(bytes: Buffer, from: number, lengthOf: LengthOf): boolean {
  for (let at = from, n = 0; n < inARow; n++) {
    if (at + 7 > bytes.length) return n > 1;
    const length = lengthOf(bytes, at);
    if (length === undefined) return false;
    at += length;
  }
  return true;
}

/** Kilobits per second of layer 3: of MPEG-1, and of MPEG-2 and 2.5. ISO/IEC 11172-3, 2.4.2.3 and 13818-3, 2.4.2.3 */
const kilobits = [
  [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
] as const;
const sampleRates = [44_100, 48_000, 32_000] as const;

export function lengthOfMp3(bytes: Buffer, at: number): number | undefined {
  const [first, second, third] = [bytes[at]!, bytes[at + 1]!, bytes[at + 2]!];
  const version = (second >> 3) & 3;
  if (first !== 0xff || (second & 0xe6) !== 0xe2 || version === 1) return undefined;
  const rate = sampleRates[(third >> 2) & 3];
  const bitrate = kilobits[version === 3 ? 0 : 1][third >> 4];
  if (!rate || !bitrate) return undefined;
  const hertz = rate / (version === 3 ? 1 : version === 2 ? 2 : 4);
  return Math.floor(((version === 3 ? 144_000 : 72_000) * bitrate) / hertz) + ((third >> 1) & 1);
}

/** ISO/IEC 13818-7, 6.2 */
export function lengthOfAdts(bytes: Buffer, at: number): number | undefined {
  if (bytes[at] !== 0xff || (bytes[at + 1]! & 0xf6) !== 0xf0 || ((bytes[at + 2]! >> 2) & 15) > 12) return undefined;
  const length = ((bytes[at + 3]! & 3) << 11) | (bytes[at + 4]! << 3) | (bytes[at + 5]! >> 5);
  return length > 7 ? length : undefined;
}
