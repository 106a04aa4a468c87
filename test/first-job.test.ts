import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

// The README's first job: its files, as they stand there, and their own test, on an embedded Postgres.

const root = join(import.meta.dirname, '..');
/** Where a project that installs the package finds its modules. */
const modules: Record<string, string> = {
  'rowmill/job': 'worker/queue/job.ts',
  'rowmill/testing': 'worker/testing/testing.ts',
  zod: 'node_modules/zod/index.js',
};

test('the first job of README runs, and its test passes', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'first-job-'));
  t.after(() => rm(dir, { recursive: true }));
  const section = await sectionOfReadme();
  const files = filesOf(section);
  const names = ['jobs/greeting/hello.ts', 'migrations/0001_greetings.sql', 'jobs/greeting/hello.test.ts'];
  assert.deepEqual(Object.keys(files), names);
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true });
    await writeFile(join(dir, name), text.replaceAll(/ from '([^.][^']*)'/g, importOf));
  }
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] };
  const command = /`node (--test [^`]+)`/.exec(section)![1]!;
  const { stdout } = await promisify(execFile)(process.execPath, command.split(' '), { cwd: dir, env });
  assert.match(stdout, /^ℹ pass 1$/m);
});

async function sectionOfReadme(): Promise<string> {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  return /^## Your first job$[^]*?(?=^## )/m.exec(readme)![0];
}

/** Each block of code after the name of its file. */
function filesOf(section: string): Record<string, string> {
  const blocks = section.matchAll(
    /`((?:jobs|migrations)\/[\w/.]+\.(?:ts|sql))`[^`]*(?:`[^`\n]*`[^`]*)?```\w+\n([^]*?)```/g,
  );
  return Object.fromEntries(Array.from(blocks, ([, name, text]) => [name!, text!]));
}

const importOf = (whole: string, name: string) =>
  modules[name] ? ` from '${pathToFileURL(join(root, modules[name])).href}'` : whole;
