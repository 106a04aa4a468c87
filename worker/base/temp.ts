import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

const prefix = 'rowmill-';

/** Runs `work` with a private folder that is gone afterwards, however it ends. */
export async function withTempDir<T>(parent: string, work: (dir: string) => Promise<T>): Promise<T> {
  await mkdir(parent, { recursive: true });
  const dir = await mkdtemp(join(parent, prefix));
  try {
    return await work(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Removes the folders that killed processes left behind: those untouched for a day. */
export async function removeStaleTempDirs(parent: string, now = Date.now()): Promise<void> {
  for (const name of await readdir(parent).catch(() => [])) {
    if (!name.startsWith(prefix)) continue;
    const dir = join(parent, name);
    const info = await stat(dir).catch(() => undefined);
    if (info?.isDirectory() && now - info.mtimeMs > 86_400_000)
      await rm(dir, { recursive: true, force: true }).catch(() => {});
  }
}
