import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = join(import.meta.dirname, '../..');

/** What a process has loaded: npm packages by name, and files of ours by their place in the project. */
export type Loaded = { packages: string[]; ours: string[]; output: string };

/** Runs `code`, a module of the project's root, in a process of its own. */
export async function loadedBy(code: string, env: Record<string, string> = {}): Promise<Loaded> {
  const dir = await mkdtemp(join(tmpdir(), 'loaded-'));
  const record = join(dir, 'modules.json');
  const preload = join(import.meta.dirname, 'record-modules.ts');
  const args = ['--import', preload, '--input-type=module', '-e', code];
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, {
      cwd: root,
      env: { PATH: process.env['PATH'], RECORD_MODULES: record, ...env },
    });
    const urls = JSON.parse(await readFile(record, 'utf8')) as string[];
    const files = urls.filter((url) => url.startsWith('file:')).map((url) => relative(root, fileURLToPath(url)));
    return { packages: [...new Set(files.flatMap(packageOf))].toSorted(), ours: files.filter(isOurs), output: stdout };
  } finally {
    await rm(dir, { recursive: true });
  }
}

const packageOf = (file: string): string[] => {
  const name = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1];
  return name ? [name] : [];
};
const isOurs = (file: string) => file.startsWith('worker/');
