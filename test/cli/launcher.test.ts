import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

// worker/cli/rowmill.js: what it starts and how, and what it says where it cannot.

const root = join(import.meta.dirname, '../..');
const launcher = join(root, 'worker/cli/rowmill.js');
/** A project without node_modules. */
let project: string;
before(async () => {
  project = await realpath(await mkdtemp(join(tmpdir(), 'rowmill launcher é-')));
  await Promise.all(['worker/cli', 'dist/cli'].map((dir) => mkdir(join(project, dir), { recursive: true })));
  await copyFile(launcher, join(project, 'worker/cli/rowmill.js'));
  await writeFile(join(project, 'package.json'), '{"type": "module"}');
});
after(() => rm(project, { recursive: true }));

async function launch(flags: string[] = [], env: Record<string, string> = {}): Promise<string> {
  const args = [...flags, join(project, 'worker/cli/rowmill.js'), 'one', 'two words'];
  return new Promise<string>((resolve) => {
    execFile(process.execPath, args, { cwd: project, env }, (error, out, said) =>
      resolve(`${Number(error?.code ?? 0)} ${out}${said}`),
    );
  });
}

test('on a Node that is too old it says which there is, and how to get one', async () => {
  const old = join(project, 'old.mjs');
  await writeFile(old, `Object.defineProperty(process.versions, 'node', { value: '20.20.2' });`);
  const said = await launch(['--import', old]);
  assert.ok(said.startsWith('2 rowmill needs Node 24 or later, and this is 20.20.2. Install it; '), said);
});

test('where it was not built, and where npm ci has not run, it says so, without a stack', async () => {
  assert.equal(await launch(), `2 The package in ${project} was not built: run npm run build there.\n`);
  await writeFile(join(project, 'dist/cli/index.js'), report('dist'));
  assert.equal(await launch(), `2 The packages of rowmill are not installed: run npm ci in ${project}.\n`);
});

const report = (from: string) =>
  `const { argv, execArgv, env } = process;
   console.log('${from}', argv.slice(2).join(), execArgv.join(' '), env.MALLOC_ARENA_MAX, env.X);`;

test('it starts dist/, or worker/ where that is, with the arguments, the settings of memory, and .env', async () => {
  await mkdir(join(project, 'node_modules'), { recursive: true });
  await symlink(join(root, 'node_modules/commander'), join(project, 'node_modules/commander'));
  assert.equal(await launch(), '0 dist one,two words --initial-old-space-size=64 2 undefined\n');
  await writeFile(join(project, '.env'), 'X=file\nMALLOC_ARENA_MAX=3');
  await writeFile(join(project, 'worker/cli/index.ts'), report('worker'));
  assert.match(await launch(), /^0 worker one,two words --initial-old-space-size=64 --env-file=.env 2 file\n$/);
  assert.match(await launch([], { X: 'given', MALLOC_ARENA_MAX: '1' }), / 1 given\n$/);
  assert.match(await launch(['--stack-size=900']), /^0 worker one,two words --stack-size=900 --initial/);
});

test('the process stays the same: its id, its exit code, a fault of NODE_OPTIONS', async () => {
  const index = join(project, 'worker/cli/index.ts');
  await writeFile(index, `console.log(process.pid); process.exit(7);`);
  const child = execFile(process.execPath, [join(project, 'worker/cli/rowmill.js')], { cwd: project });
  const [code, output] = await Promise.all([
    new Promise<number | null>((resolve) => child.once('exit', resolve)),
    child.stdout!.toArray(),
  ]);
  assert.deepEqual([code, Number(output.join(''))], [7, child.pid]);
  assert.match(await launch([], { NODE_OPTIONS: '--bogus' }), /^9 .*--bogus is not allowed/);
});

test('a user that has a number and no name, as in a container, can use it', async () => {
  const nameless = join(project, 'nameless.mjs');
  await writeFile(
    nameless,
    `import os from 'node:os';
     import { syncBuiltinESMExports } from 'node:module';
     os.userInfo = () => { throw new Error('uv_os_get_passwd returned ENOENT'); };
     syncBuiltinESMExports();`,
  );
  const args = ['--import', nameless, launcher, 'alerts', 'silence', '--help'];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  assert.match(stdout, /--by <name> .*default: "user \d+"/);
});
