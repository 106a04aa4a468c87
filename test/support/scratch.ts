import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';

/**
 * Where a Postgres of tests has its files: in memory where there is plenty of it, for writing files is most of its
 * work.
 */
export const scratch = hasRoom('/dev/shm') ? '/dev/shm' : tmpdir();

function hasRoom(dir: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize > 4e9;
  } catch {
    return false;
  }
}
