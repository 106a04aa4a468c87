import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { outputOf, runProcess, type Limits } from '../../../worker/media/ffmpeg/process.ts';
import { eventually } from '../../support/eventually.ts';
import { processes } from '../../support/process-table.ts';

// How programs are run: what they are given, what ends them, and that nothing of them is left.

let dir: string;
before(async () => void (dir = await realpath(await mkdtemp(join(tmpdir(), 'rowmill-process-')))));
after(() => rm(dir, { recursive: true }));

const { signal } = new AbortController();
const plenty: Limits = { cpuSeconds: 60, fileBytes: 1e9, memoryBytes: 4e9 };
const sh = (script: string) => ['/bin/sh', '-c', script] as [string, ...string[]];
const options = (limits: Partial<Limits> = {}) => ({ cwd: dir, signal, limits: { ...plenty, ...limits } });
const output = async (script: string) => (await outputOf(sh(script), { ...options(), maxBytes: 1e6 })).stdout;
const alive = async () => (await processes()).filter(({ cwd }) => cwd === dir);

/** A process that runs a program, to be killed. */
function elsewhere(mode: string, script: string, first = ''): ChildProcess {
  const runner = join(import.meta.dirname, '../../support/run-process.ts');
  return spawn('/bin/sh', ['-c', `${first} exec "$@"`, 'sh', process.execPath, runner, mode, ...sh(script)], {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

test('a program sees nothing of our environment', async (t) => {
  process.env['AWS_SECRET_ACCESS_KEY'] = 'sesame';
  t.after(() => delete process.env['AWS_SECRET_ACCESS_KEY']);
  const names = (await output('env'))
    .trim()
    .split('\n')
    .map((line) => line.split('=')[0]!);
  const own = ['HOME', 'LC_ALL', 'MALLOC_ARENA_MAX', 'PATH', 'TMPDIR'];
  assert.deepEqual(names.filter((name) => !['PWD', 'OLDPWD', '_', 'SHLVL'].includes(name)).toSorted(), own);
  assert.equal(
    await output('pwd; readlink /proc/self/fd/0; readlink /proc/$$/fd/4 || echo none'),
    `${dir}\n/dev/null\nnone\n`,
  );
});

test('its exit code is told, and what ended it', async () => {
  const code = async (script: string) => (await runProcess(sh(script), options())).code;
  assert.deepEqual(await Promise.all(['exit 3', 'kill -KILL $$', 'kill -TERM $$'].map(code)), [3, 137, 143]);
  assert.equal((await runProcess([join(dir, 'none')], options())).code, 127);
});

test('limits end it: of a file, of CPU time, of memory', async () => {
  const file = await runProcess(sh('exec head -c 3000000 /dev/zero >big'), options({ fileBytes: 1e6 }));
  assert.equal(file.code, 153);
  assert.ok((await stat(join(dir, 'big'))).size < 1.001e6);

  const time = await runProcess(sh('while :; do :; done'), options({ cpuSeconds: 1 }));
  assert.equal(time.code, 152);
  const deaf = await runProcess(sh(`trap '' XCPU; while :; do :; done`), options({ cpuSeconds: 1 }));
  assert.equal(deaf.code, 137);

  const greedy = 'exec head -c 300m /dev/zero | tail';
  const memory = await runProcess(sh(greedy), options({ memoryBytes: 1e8 }));
  assert.match(memory.stderr, /memory exhausted|Cannot allocate memory/);
});

test('it writes no core, and goes before this process when memory runs out', async () => {
  assert.deepEqual((await output('ulimit -c; cat /proc/self/oom_score_adj')).split('\n'), ['0', '1000', '']);
});

test('a limit that is lower already stays, and is no fault', async () => {
  const child = elsewhere('run', 'ulimit -t; ulimit -f >&2', 'ulimit -t 50; ulimit -f 7000;');
  assert.equal(await text(child.stdout!), 'exit 0 7000\n');
});

test('the end of what it complains of is kept', async () => {
  const { stderr } = await runProcess(sh('head -c 100000 /dev/zero | tr "\\0" x >&2; echo last >&2'), options());
  assert.equal(stderr.length, 8_192);
  assert.equal(stderr.slice(-6), 'xlast\n');
});

test('when it ends by itself nothing is left of it', async () => {
  await runProcess(sh('exit 0'), options());
  assert.deepEqual(await alive(), []);
});

test('when it is aborted all of it is dead before that is told', async () => {
  const controller = new AbortController();
  let started: number | undefined;
  const running = runProcess(sh('sleep 600 & sleep 600 & echo; wait'), {
    ...options(),
    signal: controller.signal,
    onOutput() {
      started = performance.now();
      controller.abort();
    },
  });
  assert.equal((await running).code, 137);
  assert.ok(started);
  const left = await alive();
  assert.deepEqual(
    left.filter(({ name }) => name === 'sleep'),
    [],
  );
  await eventually(async () => assert.deepEqual(await alive(), []));

  await assert.rejects(runProcess(sh('touch never'), { ...options(), signal: controller.signal }), {
    name: 'AbortError',
  });
  await assert.rejects(stat(join(dir, 'never')), { code: 'ENOENT' });
});

test('when its output cannot be taken it is killed', async () => {
  const running = runProcess(sh('yes'), {
    ...options(),
    onOutput() {
      throw new TypeError('full');
    },
  });
  await assert.rejects(running, { name: 'TypeError' });
  assert.deepEqual(
    (await alive()).filter(({ name }) => name === 'yes'),
    [],
  );
  await assert.rejects(outputOf(sh('yes'), { ...options(), maxBytes: 1e5 }), { name: 'RangeError' });
});

test('when the shell that waits for it is killed, it ends', async () => {
  const running = runProcess(sh('exec sleep 600'), options());
  const sleeping = await eventually(async () => {
    const found = (await alive()).find(({ name }) => name === 'sleep');
    assert.ok(found);
    return found;
  });
  process.kill(sleeping.group, 'SIGKILL');
  assert.equal((await running).code, 137);
  await eventually(async () => assert.deepEqual(await alive(), []));
});

test('when this process is killed it ends; while this process is frozen it goes on', async () => {
  const child = elsewhere('run', 'exec sleep 600');
  const program = () => eventually(async () => assert.ok((await alive()).some(({ name }) => name === 'sleep')));
  await program();
  child.kill('SIGSTOP');
  await eventually(async () =>
    assert.ok((await processes()).some(({ pid, state }) => pid === child.pid && state === 'T')),
  );
  await program();
  child.kill('SIGKILL');
  await once(child, 'exit');
  await eventually(async () => assert.deepEqual(await alive(), []));
});

test('what cannot be started is an error and no crash', async () => {
  await assert.rejects(runProcess(sh('true'), { ...options(), cwd: join(dir, 'none') }), { code: 'ENOENT' });
  const child = elsewhere('without files', 'true', 'ulimit -n 60;');
  assert.equal(await text(child.stdout!), 'error EMFILE');
  const long = 'x'.repeat(3e6);
  await assert.rejects(runProcess(sh(long), options()), { code: 'E2BIG' });
});
