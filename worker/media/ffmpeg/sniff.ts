import { open } from 'node:fs/promises';
import { PermanentError } from '../../base/errors.ts';

/** Containers that file-type counts neither as video nor as audio. */
const others = new Set(['application/ogg', 'application/mp4', 'application/mxf', 'application/vnd.ms-asf']);

/** Sound in formats that people have, but that are not accepted. */
const notRead: Record<string, string> = {
  wv: 'WavPack',
  ape: "Monkey's Audio",
  mpc: 'Musepack',
  dsf: 'DSD',
  mid: 'MIDI',
};

/**
 * The extension that a video or sound file should have, by its first bytes. A file without a signature is refused:
 * ffmpeg would take noise for speech.
 * @throws PermanentError `not_media`, `unsupported_codec`
 */
export async function sniffMedia(path: string): Promise<string> {
  const { fileTypeFromFile } = await import('file-type');
  const type = await fileTypeFromFile(path);
  const unread = type && notRead[type.ext];
  if (unread) throw new PermanentError('unsupported_codec', `The file is ${unread}, which is not supported`);
  if (type && (/^(video|audio)\//.test(type.mime) || others.has(type.mime))) return type.ext;
  const found = await sniffFurther(path);
  if (found) return found;
  const what = type ? `it is ${type.mime}` : 'it has the signature of no known format';
  throw new PermanentError('not_media', `The file is neither video nor sound: ${what}`);
}

/** Formats that file-type does not know, and every player plays. */
async function sniffFurther(path: string): Promise<string | undefined> {
  const file = await open(path);
  try {
    const head = await read(0);
    const kind = head.toString('latin1', 0, 4);
    if (['RF64', 'BW64'].includes(kind) && head.toString('latin1', 8, 12) === 'WAVE') return 'wav';
    if (head.subarray(0, 16).equals(wave64)) return 'w64';
    const tag = tagLength(head);
    const behind = tag > 0 ? await read(tag) : head;
    // The length that a tag states may be wrong: then the frames are somewhere in what follows.
    return (
      firstFrames(behind, 'zeros') ?? (tag > 0 ? (firstFrames(behind, 'all') ?? firstFrames(head, 'all')) : undefined)
    );
  } finally {
    await file.close();
  }

  async function read(at: number): Promise<Buffer> {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(readBytes), 0, readBytes, at);
    return buffer.subarray(0, bytesRead);
  }
}

const readBytes = 262_144;
const wave64 = Buffer.from('726966662e91cf11a5d628db04c10000', 'hex');

/** The size of an ID3 tag with its header, and its footer if it has one. https://id3.org/id3v2.4.0-structure */
function tagLength(head: Buffer): number {
  if (head.toString('latin1', 0, 3) !== 'ID3' || head.length < 10) return 0;
  const length = [6, 7, 8, 9].reduce((sum, at) => sum * 128 + (head[at]! & 0x7f), 0);
  return length + (head[5]! & 0x10 ? 20 : 10);
}

/** So many frames in a row are no accident. */
const inARow = 4;

/** MP3 or AAC whose frames begin after nothing but zeros, or anywhere. */
function firstFrames(bytes: Buffer, behind: 'zeros' | 'all'): 'mp3' | 'aac' | undefined {
  for (let at = 0; at + 7 <= bytes.length; at++) {
    if (bytes[at] === 0xff) for (const [format, lengthOf] of formats) if (areFrames(bytes, at, lengthOf)) return format;
    if (behind === 'zeros' && bytes[at] !== 0) return undefined;
  }
  return undefined;
}

function areFrames(bytes: Buffer, from: number, lengthOf: (bytes: Buffer, at: number) => number | undefined): boolean {
  for (let at = from, n = 0; n < inARow; n++) {
    if (at + 7 > bytes.length) return n > 1;
    const length = lengthOf(bytes, at);
    if (length === undefined) return false;
    at += length;
  }
  return true;
}

const formats = [
  ['mp3', lengthOfMp3],
  ['aac', lengthOfAdts],
] as const;

/** Kilobits per second of layer 3: of MPEG-1, and of MPEG-2 and 2.5. ISO/IEC 11172-3, 2.4.2.3 and 13818-3, 2.4.2.3 */
const kilobits = [
  [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
] as const;
const sampleRates = [44_100, 48_000, 32_000] as const;

function lengthOfMp3(bytes: Buffer, at: number): number | undefined {
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
function lengthOfAdts(bytes: Buffer, at: number): number | undefined {
  if (bytes[at] !== 0xff || (bytes[at + 1]! & 0xf6) !== 0xf0 || ((bytes[at + 2]! >> 2) & 15) > 12) return undefined;
  const length = ((bytes[at + 3]! & 3) << 11) | (bytes[at + 4]! << 3) | (bytes[at + 5]! >> 5);
  return length > 7 ? length : undefined;
}
