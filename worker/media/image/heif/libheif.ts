/* oxlint-disable no-underscore-dangle -- so Emscripten calls the functions of C */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import libheif from 'libheif-js/wasm-bundle.js';
import type { Coding } from '../colour.ts';

/** Samples of one channel, with `stride` samples from one line to the next. */
export type Plane = { data: Uint8Array | Uint16Array; width: number; stride: number; bits: number };

/** A decoded picture, or tile. Its planes lie in WebAssembly's memory, and are valid until that grows. */
export type Planes = {
  /** Shift of a coordinate to the right for chroma: 1 where two pixels share a sample. */
  shift: { across: number; down: number };
  luma: Plane;
  /** Blue and red difference; undefined for grey. */
  chroma: [Plane, Plane] | undefined;
  alpha: Plane | undefined;
};

/** From the enums of heif_image.h. */
const [Y, Cb, Cr, Alpha] = [0, 1, 2, 6];
const [colorspaceUndefined, chromaUndefined] = [99, 99];
/**
 * Offset of output_image_nclx_profile_passthrough in heif_decoding_options, version 10 (heif_decoding.h of libheif
 * 1.23). Without it the planes are converted to BT.601 in full range, and the coding in the bitstream is lost.
 */
const passthrough = 69;
const shifts = { 0: [0, 0], 1: [1, 1], 2: [1, 0], 3: [0, 0] } as Record<number, [number, number]>;

let [context, error, out, options] = [0, 0, 0, 0];

/**
 * Opens the one file that this thread decodes. libheif's memory, at first 25 MB and the file, is never given back.
 * @throws Error with libheif's message, here and below
 */
export async function openHeif(path: string): Promise<void> {
  await libheif.ready;
  [error, out] = [libheif._malloc(16), libheif._malloc(16)];
  options = libheif._heif_decoding_options_alloc();
  libheif.HEAPU8[options + passthrough] = 1;
  context = libheif._heif_context_alloc();
  libheif._heif_context_set_max_decoding_threads(context, 0);
  const [data, bytes] = load(path);
  libheif._heif_context_read_from_memory_without_copy(error, context, data, bytes, 0);
  check();
}

/** Decodes an item. @param asStored without the file's cropping, rotation and mirroring */
export function decodeItem(id: number, asStored: boolean): number {
  // The field ignore_transformations, after the field version.
  libheif.HEAPU8[options + 1] = asStored ? 1 : 0;
  libheif._heif_context_get_image_handle(error, context, id, out);
  check();
  const handle = libheif.HEAP32[out >> 2]!;
  libheif._heif_decode_image(error, handle, out, colorspaceUndefined, chromaUndefined, options);
  check();
  libheif._heif_image_handle_release(handle);
  return libheif.HEAP32[out >> 2]!;
}

export const release = (image: number) => libheif._heif_image_release(image);

export const sizeOf = (image: number) => ({
  width: libheif._heif_image_get_width(image, Y),
  height: libheif._heif_image_get_height(image, Y),
});

export function planesOf(image: number): Planes {
  const [across, down] = shifts[libheif._heif_image_get_chroma_format(image)] ?? [0, 0];
  const has = (channel: number) => libheif._heif_image_has_channel(image, channel) !== 0;
  return {
    shift: { across, down },
    luma: plane(image, Y),
    chroma: has(Cb) && has(Cr) ? [plane(image, Cb), plane(image, Cr)] : undefined,
    alpha: has(Alpha) ? plane(image, Alpha) : undefined,
  };
}

/** The colour coding of the decoded picture. */
export function codingOf(image: number): Coding | undefined {
  libheif._heif_image_get_nclx_color_profile(error, image, out);
  if (libheif.HEAP32[error >> 2] !== 0) return undefined;
  // struct heif_color_profile_nclx: version, three enums, a flag.
  const at = libheif.HEAP32[out >> 2]! >> 2;
  const [primaries, transfer, matrix] = libheif.HEAP32.subarray(at + 1, at + 4);
  return { primaries: primaries!, transfer: transfer!, matrix: matrix!, full: libheif.HEAPU8[at * 4 + 16] !== 0 };
}

function plane(image: number, channel: number): Plane {
  const at = libheif._heif_image_get_plane_readonly2(image, channel, out);
  const stride = libheif.HEAP32[out >> 2]!;
  const width = libheif._heif_image_get_width(image, channel);
  const height = libheif._heif_image_get_height(image, channel);
  const bits = libheif._heif_image_get_bits_per_pixel_range(image, channel);
  const { buffer } = libheif.HEAPU8;
  if (bits <= 8) return { data: new Uint8Array(buffer, at, stride * height), width, stride, bits };
  return { data: new Uint16Array(buffer, at, (stride * height) / 2), width, stride: stride / 2, bits };
}

function load(path: string): [data: number, bytes: number] {
  const file = openSync(path, 'r');
  try {
    const bytes = fstatSync(file).size;
    const data = libheif._malloc(bytes);
    if (data === 0) throw new Error('out of memory');
    for (let at = 0; at < bytes;) {
      const read = readSync(file, libheif.HEAPU8, data + at, bytes - at, at);
      if (read === 0) throw new Error('the file became shorter');
      at += read;
    }
    return [data, bytes];
  } finally {
    closeSync(file);
  }
}

/** struct heif_error: code, subcode, message. */
function check(): void {
  if (libheif.HEAP32[error >> 2] === 0) return;
  const at = libheif.HEAP32[(error >> 2) + 2]!;
  const message = libheif.HEAPU8.subarray(at, libheif.HEAPU8.indexOf(0, at));
  throw new Error(Buffer.from(message).toString('latin1').trim() || 'it cannot be decoded');
}
