import { createReadStream } from 'node:fs';

/** A part of a file: the bytes from `start`, without `end`. */
export type Chunk = { start: number; end: number };

/** As a body of a request: read from the disk as the connection takes it. */
export const bodyOf = (path: string, { start, end }: Chunk) => ({
  stream: createReadStream(path, { start, end: end - 1 }),
  bytes: end - start,
});

/** `Content-Range: bytes 0-1023/4096` */
export const rangeOf = ({ start, end }: Chunk, total: number) => `bytes ${start}-${end - 1}/${total}`;
