// The parts of libheif-js that we use, whose own types are of another build; and WebAssembly, which Node's types leave
// out. https://github.com/catdad-experiments/libheif-js,
// https://github.com/strukturag/libheif/tree/master/libheif/api/libheif
declare module 'libheif-js/wasm-bundle.js' {
  /** An address in WebAssembly's memory. */
  type Pointer = number;
  type Libheif = {
    ready: Promise<unknown>;
    /** Views of the memory; replaced when it grows. */
    HEAPU8: Uint8Array<ArrayBuffer>;
    HEAP32: Int32Array;
    _malloc(bytes: number): Pointer;
    _heif_context_alloc(): Pointer;
    _heif_context_set_max_decoding_threads(context: Pointer, threads: number): void;
    // Functions that return a heif_error write it to their first argument.
    _heif_context_read_from_memory_without_copy(
      error: Pointer,
      context: Pointer,
      data: Pointer,
      bytes: number,
      options: Pointer,
    ): void;
    _heif_context_get_image_handle(error: Pointer, context: Pointer, id: number, handle: Pointer): void;
    _heif_image_handle_release(handle: Pointer): void;
    _heif_decoding_options_alloc(): Pointer;
    _heif_decode_image(
      error: Pointer,
      handle: Pointer,
      image: Pointer,
      colorspace: number,
      chroma: number,
      options: Pointer,
    ): void;
    _heif_image_release(image: Pointer): void;
    _heif_image_get_chroma_format(image: Pointer): number;
    _heif_image_has_channel(image: Pointer, channel: number): number;
    _heif_image_get_width(image: Pointer, channel: number): number;
    _heif_image_get_height(image: Pointer, channel: number): number;
    _heif_image_get_bits_per_pixel_range(image: Pointer, channel: number): number;
    _heif_image_get_plane_readonly2(image: Pointer, channel: number, stride: Pointer): Pointer;
    _heif_image_get_nclx_color_profile(error: Pointer, image: Pointer, profile: Pointer): void;
  };
  const libheif: Libheif;
  export default libheif;
}

declare namespace WebAssembly {
  class Memory {
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
}
