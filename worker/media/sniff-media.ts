import { open } from 'node:fs/promises';
import { fileTypeFromFile } from 'file-type';
import { PermanentError } from '../base/errors.ts';

/** Containers that file-type counts neither as video nor as audio. */
const others = new Set(['application/ogg', 'application/mp4', 'application/mxf', 'application/vnd.ms-asf']);

/**
 * The extension that a file of video or sound ought to have, by its own bytes. What has no signature is refused: ffmpeg would take
 * noise for speech.
 * @throws PermanentError `not_media`, `media_truncated`
 */
export async function sniffMedia(path: string): Promise<string> {
  const type = await fileTypeFromFile(path);
  if (type && (/^(video|audio)\//.test(type.mime) || others.has(type.mime))) {
    await checkWhole(path, type.ext);
    return type.ext;
  }
  const what = type ? `it is ${type.mime}` : 'it has the signature of no known format';
  throw new PermanentError('not_media', `The file is neither video nor sound: ${what}`);
}

/** Of formats that say how many bytes they have, and that ffmpeg plays to wherever they end as if that were all. */
async function checkWhole(path: string, format: string): Promise<void> {
  const file = await open(path);
  try {
    const { buffer: head } = await file.read(Buffer.alloc(4096), 0, 4096, 0);
    const said = bytesSaid(head, format);
    const { size } = await file.stat();
    // Some programs count their header wrong.
    if (said !== undefined && said - size > Math.max(4096, said / 100))
      throw new PermanentError('media_truncated', `The file is cut off: it says that it has ${said} bytes, of ${size}`);
  } finally {
    await file.close();
  }
}

/** The GUID of the object in the head of an ASF file that says so, as its bytes are. Advanced Systems Format specification, 3.2 */
const fileProperties = Buffer.from('a1dcab8c47a9cf118ee400c00c205365', 'hex');

function bytesSaid(head: Buffer, format: string): number | undefined {
  if (format === 'avi' || format === 'wav') {
    const size = head.readUInt32LE(4);
    // Who writes to where he cannot go back leaves nothing there, or the most that there can be, signed or not.
    return size > 0 && size < 0x7f00_0000 ? size + 8 : undefined;
  }
  const at = format === 'asf' ? head.indexOf(fileProperties) : -1;
  if (at < 0 || at + 92 > head.length) return undefined;
  const broadcast = head.readUInt32LE(at + 88) & 1;
  return broadcast ? undefined : Number(head.readBigUInt64LE(at + 40));
}
