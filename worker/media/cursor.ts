import { open, type FileHandle } from 'node:fs/promises';

/** Reads a file in chunks of 64 kB, and skips what is not needed. */
export class Cursor {
  /** The size of the file in bytes. */
  readonly size: number;
  /** The offset of the next byte. */
  at = 0;
  private readonly file: FileHandle;
  // One buffer for all chunks: V8 would keep hundreds before it frees any.
  private readonly buffer = Buffer.alloc(65_536);
  private piece = this.buffer.subarray(0, 0);
  private pieceAt = 0;
  private constructor(file: FileHandle, size: number) {
    this.file = file;
    this.size = size;
  }

  static async over<T>(path: string, work: (cursor: Cursor) => Promise<T>): Promise<T> {
    const file = await open(path);
    try {
      return await work(new Cursor(file, (await file.stat()).size));
    } finally {
      await file.close();
    }
  }

  skip(bytes: number): void {
    this.at += bytes;
  }

  /**
   * The next bytes, at most 64 kB, valid until the next call; undefined at the end of the file. Resolves at once if
   * they are in the chunk that was read last.
   */
  async take(bytes: number): Promise<Buffer | undefined> {
    const inPiece = this.at >= this.pieceAt && this.at + bytes <= this.pieceAt + this.piece.length;
    if (!inPiece) {
      const { bytesRead } = await this.file.read(this.buffer, 0, this.buffer.length, this.at);
      this.piece = this.buffer.subarray(0, bytesRead);
      this.pieceAt = this.at;
      if (bytesRead < bytes) return undefined;
    }
    const start = this.at - this.pieceAt;
    this.at += bytes;
    return this.piece.subarray(start, start + bytes);
  }
}
