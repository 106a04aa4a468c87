import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What is made once on a machine. */
export const cache = join(import.meta.dirname, '../../node_modules/.cache/rowmill-test');

/**
 * Clips and pictures, which take long to make: made once on a machine, and then read.
 * @param recipe all that the bytes depend on: arguments, and the version of what makes them
 */
export async function kept(recipe: unknown, make: () => Promise<Buffer>): Promise<Buffer> {
  const path = join(cache, createHash('sha256').update(JSON.stringify(recipe)).digest('hex'));
  const found = await readFile(path).catch(() => undefined);
  if (found) return found;
  const bytes = await make();
  // Others may make it at the same time: a name is only ever given to a whole file.
  const part = `${path}.${randomUUID()}`;
  await mkdir(cache, { recursive: true });
  await writeFile(part, bytes);
  await rename(part, path);
  return bytes;
}

/** What tells a program, or a file of our own that makes something, from another version of it. */
export async function versionOf(path: string): Promise<string> {
  const { size, mtimeMs } = await stat(path);
  return `${path} ${size} ${mtimeMs}`;
}
