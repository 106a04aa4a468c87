import { open } from 'node:fs/promises';
import type { FileTypeResult } from 'file-type';
import { PermanentError } from '../../base/errors.ts';

export type Format = 'jpeg' | 'png' | 'webp' | 'gif' | 'avif' | 'heic' | 'tiff';

/** Names for people. */
export const label = {
  jpeg: 'JPEG',
  png: 'PNG',
  webp: 'WebP',
  gif: 'GIF',
  avif: 'AVIF',
  heic: 'HEIC',
  tiff: 'TIFF',
} satisfies Record<Format, string>;

const formats: Record<string, Format> = {
  'image/jpeg': 'jpeg',
  'image/png': 'png',
  'image/apng': 'png',
  'image/webp': 'webp',
  'image/gif': 'gif',
  'image/avif': 'avif',
  'image/heic': 'heic',
  'image/heic-sequence': 'heic',
  'image/tiff': 'tiff',
};
/** Little-endian and big-endian, TIFF and BigTIFF. */
const tiffSignatures = ['II*\0', 'MM\0*', 'II+\0', 'MM\0+'];
const generalHeif = ['image/heif', 'image/heif-sequence'];
const accepted = 'JPEG, PNG, WebP, GIF, AVIF, HEIC and TIFF';

/**
 * The format of a file by its content; name and stated content type are ignored.
 * @throws PermanentError `empty_file`, `not_an_image`, `unsupported_image_format`
 */
export async function sniffImage(path: string): Promise<Format> {
  const { fileTypeFromFile } = await import('file-type');
  const type = await fileTypeFromFile(path);
  const format = type && formats[type.mime];
  if (format) return format;

  const head = await readHead(path);
  if (head.length === 0) throw new PermanentError('empty_file', 'The file is empty');
  // file-type looks for a directory, which most TIFF files have at their end; one that is cut off is still a TIFF.
  if (!type && tiffSignatures.includes(head.toString('latin1', 0, 4))) return 'tiff';
  if (type && generalHeif.includes(type.mime)) {
    const brands = compatibleBrands(head);
    if (brands.includes('avif')) return 'avif';
    if (['heic', 'heix', 'hevc', 'hevx'].some((brand) => brands.includes(brand))) return 'heic';
  }
  const kind = unacceptedPicture(type, head);
  if (kind)
    throw new PermanentError(
      'unsupported_image_format',
      `The picture is ${kind}, which is not supported: ${accepted} are`,
    );
  throw new PermanentError('not_an_image', `The file is not a picture: it looks like ${type?.mime ?? guess(head)}`);
}

async function readHead(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(1024), 0, 1024, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** The brands that a file of the general HEIF kind says it is compatible with. ISO/IEC 14496-12, 4.3. */
function compatibleBrands(head: Buffer): string {
  return head.toString('latin1', 16, head.readUInt32BE(0));
}

/** The name of a picture or document format that we do not accept. */
function unacceptedPicture(type: FileTypeResult | undefined, head: Buffer): string | undefined {
  const xml = type === undefined || type.mime === 'application/xml';
  if (xml && /<svg[\s>]/i.test(head.toString('latin1'))) return 'SVG';
  if (type && generalHeif.includes(type.mime)) return 'HEIF with neither HEVC nor AV1 in it';
  const picture = type?.mime.startsWith('image/') || ['pdf', 'ps', 'eps'].includes(type?.ext ?? '');
  return picture ? type?.ext.toUpperCase() : undefined;
}

/** For data without a signature: usually an error page or message that was stored as the picture. */
function guess(head: Buffer): string {
  const text = asText(head);
  if (text === undefined) return 'data of no known type';
  if (/^\s*<(!doctype html|html|head|body)\b/i.test(text)) return 'text/html';
  if (/^\s*[{[]/.test(text)) return 'application/json';
  return 'text/plain';
}

function asText(head: Buffer): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(head, { stream: true });
    // oxlint-disable-next-line no-control-regex -- text has none of these, binary data soon does
    return /[\x00-\x08\x0e-\x1f]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}
