import { totalmem } from 'node:os';

/** Bytes of memory that this process and its children may use, and whether a container limits them. */
export function memoryHere(): { bytes: number; ofContainer: boolean } {
  const all = totalmem();
  // Without a limit, some systems report 2^63.
  const limit = process.constrainedMemory() || Infinity;
  return { bytes: Math.min(limit, all), ofContainer: limit < all };
}
