// What we use of libheif-js, which brings no types for its bundle, and of WebAssembly, of which Node's types say nothing.
// https://github.com/catdad-experiments/libheif-js
declare module 'libheif-js/wasm-bundle.js' {
  type Plane = { width: number; height: number; stride: number; data: Uint8Array };
  type Libheif = {
    ready: Promise<unknown>;
    HeifDecoder: new () => { decode(file: Uint8Array): { handle: unknown; is_primary(): boolean }[] };
    heif_colorspace: { heif_colorspace_RGB: unknown };
    heif_chroma: { heif_chroma_interleaved_RGB: unknown; heif_chroma_interleaved_RGBA: unknown };
    /** Answers with an error's code and message in place of the channels. */
    heif_js_decode_image2(
      handle: unknown,
      colorspace: unknown,
      chroma: unknown,
    ): { channels?: Plane[]; message?: string } | Promise<{ channels?: Plane[]; message?: string }>;
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
