import { open } from 'node:fs/promises';
import { PermanentError } from '../../base/errors.ts';
import { areFrames, lengthOfAdts, lengthOfMp3, tagLength } from './frames.ts';

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

/** MP3 or AAC whose frames begin after nothing but zeros, or anywhere. */
function firstFrames(bytes: Buffer, behind: 'zeros' | 'all'): 'mp3' | 'aac' | undefined {
  for (let at = 0; at + 7 <= bytes.length; at++) {
    if (bytes[at] === 0xff) for (const [format, lengthOf] of formats) if (areFrames(bytes, at, lengthOf)) return format;
    if (behind === 'zeros' && bytes[at] !== 0) return undefined;
  }
  return undefined;
}

const formats = [
  ['mp3', lengthOfMp3],
  ['aac', lengthOfAdts],
] as const;
