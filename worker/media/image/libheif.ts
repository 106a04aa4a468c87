import libheif from 'libheif-js/wasm-bundle.js';
import type { Rows } from './png.ts';

/**
 * The primary picture of a HEIC file, upright. Its bytes lie in WebAssembly's memory: they are there until the next call.
 * Loading this module takes some 25 MB, and decoding some 8 bytes a pixel that are never given back: use it in a thread.
 */
export async function decodeHeic(file: Uint8Array, alpha: boolean): Promise<Rows> {
  await libheif.ready;
  const image = new libheif.HeifDecoder().decode(file).find((candidate) => candidate.is_primary());
  if (!image) throw new Error('no picture was found in it');
  const { heif_colorspace_RGB } = libheif.heif_colorspace;
  const { heif_chroma_interleaved_RGB, heif_chroma_interleaved_RGBA } = libheif.heif_chroma;
  const chroma = alpha ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB;
  const decoded = await libheif.heif_js_decode_image2(image.handle, heif_colorspace_RGB, chroma);
  const [plane] = decoded.channels ?? [];
  if (!plane) throw new Error(decoded.message?.trim() || 'it cannot be decoded');
  const { width, height, stride, data } = plane;
  return { width, height, channels: alpha ? 4 : 3, stride, data };
}
