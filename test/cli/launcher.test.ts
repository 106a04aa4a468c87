import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

// worker/cli/rowmill, the shell script that finds a Node: what it says where there is none for it, or nothing is installed.

const root = join(import.meta.dirname, '../..');
/** A project without node_modules; `bin` is all of its PATH. */
let project: string;
let bin: string;
before(async () => {
  project = await realpath(await mkdtemp(join(tmpdir(), 'rowmill launcher é-')));
  bin = join(project, 'bin');
  await Promise.all([mkdir(bin), mkdir(join(project, 'worker/cli'), { recursive: true })]);
  await copyFile(join(root, 'worker/cli/rowmill'), join(project, 'worker/cli/rowmill'));
  for (const name of ['sh', 'dirname', 'readlink']) await symlink(`/usr/bin/${name}`, join(bin, name));
});
after(() => rm(project, { recursive: true }));

/** @param node what `node` is in the PATH: a file, or the version that an old one prints; none */
async function launch(node: { file?: string; version?: string }, env: Record<string, string> = {}) {
  const path = join(bin, 'node');
  await rm(path, { force: true });
  if (node.file) await symlink(node.file, path);
  if (node.version) await writeFile(path, `#!/bin/sh\necho ${node.version}\n`, { mode: 0o755 });
  return new Promise<string>((resolve) => {
    execFile(join(project, 'worker/cli/rowmill'), ['--version'], { env: { PATH: bin, ...env } }, (error, out, said) =>
      resolve(`${Number(error?.code ?? 0)} ${out}${said}`),
    );
  });
}

test('without a Node that is new enough it says which there is, and how to get one', async () => {
  const mend =
    /Install it, or run npm ci, which installs one \(not with --omit=dev, nor with NODE_ENV=production\)\.\n$/;
  for (const [node, found] of [
    [{ version: '20.20.2' }, 'the PATH has 20.20.2'],
    [{}, 'the PATH has none'],
  ] as const) {
    const said = await launch(node);
    assert.ok(said.startsWith(`2 rowmill needs Node 24 or later, and ${found}. `), said);
    assert.match(said, mend);
  }
});

test('where npm ci has not run it says so, without a stack', async () => {
  const said = await launch({ file: process.execPath });
  assert.equal(said, `2 The packages of rowmill are not installed: run npm ci in ${project}.\n`);
});

test('with the packages of production, and a link to another system’s Node, it runs on that of the PATH', async () => {
  const modules = join(project, 'node_modules');
  await mkdir(join(modules, '.bin'), { recursive: true });
  await writeFile(join(modules, '.bin/node'), '\xcf\xfa\xed\xfe', { mode: 0o755 });
  await symlink(join(root, 'node_modules/commander'), join(modules, 'commander'));
  await writeFile(join(project, 'worker/cli/index.ts'), 'console.log("started", process.argv[2]);');
  await writeFile(join(project, 'package.json'), '{"type": "module"}');
  assert.equal(await launch({ file: process.execPath }), '0 started --version\n');
  // What Node says to it is told, and not taken for another version.
  assert.match(await launch({ file: process.execPath }, { NODE_OPTIONS: '--bogus' }), /^9 .*--bogus is not allowed/);
});
