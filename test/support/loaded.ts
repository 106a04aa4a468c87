import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = join(import.meta.dirname, '../..');

/** What a process has loaded: npm packages by name, and how many files of ours. */
export type Loaded = { packages: string[]; ours: number };

/** For the environment of a process whose modules are recorded in `file`. */
export const recorded = (file: string) => ({
  NODE_OPTIONS: `--import=${join(import.meta.dirname, 'record-modules.ts')}`,
  RECORD_MODULES: file,
});

export async function readLoaded(file: string): Promise<Loaded> {
  const urls = (await readFile(file, 'utf8')).split('\n').filter((url) => url.startsWith('file:'));
  const files = urls.map((url) => relative(root, fileURLToPath(url)));
  return {
    packages: [...new Set(files.flatMap(packageOf))].toSorted(),
    ours: files.filter((path) => path.startsWith('worker/')).length,
  };
}

/** Runs `code`, a module of the project's root, in a process of its own. */
export async function loadedBy(code: string): Promise<Loaded & { output: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'loaded-'));
  const file = join(dir, 'modules');
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
      cwd: root,
      env: { PATH: process.env['PATH'], ...recorded(file) },
    });
    return { ...(await readLoaded(file)), output: stdout.trim() };
  } finally {
    await rm(dir, { recursive: true });
  }
}

const packageOf = (file: string): string[] => {
  const name = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1];
  return name ? [name] : [];
};
