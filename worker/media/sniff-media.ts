import { fileTypeFromFile } from 'file-type';
import { PermanentError } from '../base/errors.ts';

/** Containers that file-type counts neither as video nor as audio. */
const others = new Set(['application/ogg', 'application/mp4', 'application/mxf', 'application/vnd.ms-asf']);

/**
 * The extension that a file of video or sound ought to have, by its own bytes. What has no signature is refused: ffmpeg would take
 * noise for speech.
 * @throws PermanentError `not_media`
 */
export async function sniffMedia(path: string): Promise<string> {
  const type = await fileTypeFromFile(path);
  if (type && (/^(video|audio)\//.test(type.mime) || others.has(type.mime))) return type.ext;
  const what = type ? `it is ${type.mime}` : 'it has the signature of no known format';
  throw new PermanentError('not_media', `The file is neither video nor sound: ${what}`);
}
