import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findBinaries } from '../../worker/embedded/binaries.ts';
import { openEmbeddedPostgres } from '../../worker/embedded/postgres.ts';
import { cache } from './kept.ts';
import { scratch } from './scratch.ts';

/**
 * Gives `dir` the data of an embedded Postgres, as a server has made and left it: the next one to be opened there needs
 * no initdb, which takes seconds of CPU. It is made once on a machine.
 */
export async function useCluster(dir: string): Promise<void> {
  copy(await (kept ??= keep()), join(dir, 'postgres'));
}

let kept: Promise<string> | undefined;

async function keep(): Promise<string> {
  const place = join(cache, `cluster-${await recipe()}`);
  if (existsSync(place)) return place;
  await mkdir(cache, { recursive: true });
  const [made, part] = await Promise.all([mkdtemp(join(scratch, 'rowmill-cluster-')), mkdtemp(join(cache, 'part-'))]);
  try {
    // As root the server runs as another user.
    await chmod(made, 0o755);
    const { stop, dataPath } = await openEmbeddedPostgres(made, { durable: false });
    await stop();
    copy(dataPath, join(part, 'postgres'));
    // Others may make it at the same time: a name is only ever given to a whole one.
    await rename(join(part, 'postgres'), place).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY') throw error;
    });
    return place;
  } finally {
    await Promise.all([made, part].map((dir) => rm(dir, { recursive: true })));
  }
}

/** All that the data depends on. */
async function recipe(): Promise<string> {
  const dir = join(import.meta.dirname, '../../worker/embedded');
  const sources = await Promise.all((await readdir(dir)).toSorted().map((name) => readFile(join(dir, name))));
  const hash = createHash('sha256').update(`${(await findBinaries()).version} ${process.getuid?.()}`);
  for (const source of sources) hash.update(source);
  return hash.digest('hex').slice(0, 20);
}

/** With its owner and modes, also to where a link leads. */
function copy(from: string, to: string): void {
  const { status, stderr } = spawnSync('cp', ['-a', `${from}/.`, to], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}
