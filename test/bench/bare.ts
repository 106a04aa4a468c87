import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';

/**
 * The frame of an anchor: works through the files that the process was started with, so many at once, when it is told
 * to. It has worked on the first before.
 * @param work is given a file, and a path to put its own behind
 */
export async function workThrough(work: (path: string, to: string) => Promise<void>): Promise<void> {
  const [atOnce, ...paths] = process.argv.slice(2);
  const out = await mkdtemp(join(tmpdir(), 'rowmill-bare-'));
  sharp.cache(false);
  sharp.concurrency(1);
  await work(paths[0]!, join(out, 'first'));
  console.log('ready');
  await once(process.stdin, 'data');
  const todo = paths.entries();
  const lane = async () => {
    for (const [index, path] of todo) await work(path, join(out, String(index)));
  };
  await Promise.all(Array.from({ length: Number(atOnce) }, lane));
  console.log('done');
  await rm(out, { recursive: true });
  process.stdin.resume();
}
