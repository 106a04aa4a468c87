import { open, type FileHandle } from 'node:fs/promises';

/** Reads a file in pieces of 64 kB, and skips what nobody asks for. */
export class Cursor {
  /** Of the file, in bytes. */
  readonly size: number;
  /** The offset of the next byte to take. */
  at = 0;
  private readonly file: FileHandle;
  private piece = Buffer.alloc(0);
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

  /** The next bytes, 64 kB at most; undefined at the end of the file. Resolves at once while they are in the piece read last. */
  async take(bytes: number): Promise<Buffer | undefined> {
    const inPiece = this.at >= this.pieceAt && this.at + bytes <= this.pieceAt + this.piece.length;
    if (!inPiece) {
      const { bytesRead, buffer } = await this.file.read(Buffer.alloc(65_536), 0, 65_536, this.at);
      this.piece = buffer.subarray(0, bytesRead);
      this.pieceAt = this.at;
      if (bytesRead < bytes) return undefined;
    }
    const start = this.at - this.pieceAt;
    this.at += bytes;
    return this.piece.subarray(start, start + bytes);
  }
}
