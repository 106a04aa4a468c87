import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chown,
  mkdir,
  mkdtemp,
  readdir,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, test, type TestContext } from 'node:test';
import { removeDeadTempDirs, withTempDir } from '../../worker/base/temp.ts';

// Temporary folders: gone when their work has ended, or their process.

let parent: string;
beforeEach(async () => void (parent = await realpath(await mkdtemp(join(tmpdir(), 'temp-')))));
afterEach(() => rm(parent, { recursive: true }));

const folders = async () => (await readdir(parent)).filter((name) => !name.endsWith('.alive'));
const day = 86_400_000;

async function elsewhere(t: TestContext) {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../support/temp-process.ts'), parent], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const [dir] = (await once(child.stdout, 'data')) as [Buffer];
  return {
    dir: dir.toString(),
    async end() {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
    freeze: () => child.kill('SIGSTOP'),
  };
}

test('a folder is private, and gone with its work', async () => {
  const seen = await withTempDir(parent, async (dir) => {
    assert.equal(dirname(dir), parent);
    assert.equal((await stat(dir)).mode & 0o777, 0o700);
    await mkdir(join(dir, 'a'));
    await writeFile(join(dir, 'a/b'), 'x');
    return dir;
  });
  assert.match(seen, /rowmill-/);
  assert.deepEqual(await readdir(parent), []);
  await assert.rejects(
    withTempDir(parent, () => Promise.reject(new TypeError('no'))),
    { name: 'TypeError' },
  );
  assert.deepEqual(await readdir(parent), []);
});

test('its path is a real one, whatever leads there', async () => {
  await mkdir(join(parent, 'real'));
  await symlink('real', join(parent, 'link'));
  await withTempDir(join(parent, 'link'), async (dir) => assert.equal(dirname(dir), join(parent, 'real')));
});

test('what a killed process left is removed, and what a living or a frozen one has is not', async (t) => {
  const [dead, living, frozen] = await Promise.all([elsewhere(t), elsewhere(t), elsewhere(t)]);
  frozen.freeze();
  await withTempDir(parent, async (own) => {
    await removeDeadTempDirs(parent, Date.now() + 2 * day);
    assert.equal((await folders()).length, 4);
    await dead.end();
    await removeDeadTempDirs(parent);
    assert.deepEqual(
      (await folders()).toSorted(),
      [own, living.dir, frozen.dir].map((dir) => basename(dir)).toSorted(),
    );
    assert.equal((await readdir(parent)).length, 6);
  });
  await Promise.all([living.end(), frozen.end()]);
  await removeDeadTempDirs(parent);
  assert.deepEqual(await readdir(parent), []);
});

test('what may be of a process of another machine stays for a day', async (t) => {
  const dead = await elsewhere(t);
  await dead.end();
  const other = join(parent, 'rowmill-00000000-1');
  await rename(dead.dir, other);
  await rename(`${dead.dir}.alive`, `${other}.alive`);
  await removeDeadTempDirs(parent);
  assert.equal((await readdir(parent)).length, 2);
  await removeDeadTempDirs(parent, Date.now() + day + 1_000);
  assert.deepEqual(await readdir(parent), []);
});

test('what is not ours stays', async () => {
  await mkdir(join(parent, 'other'));
  await symlink('other', join(parent, 'rowmill-link'));
  await writeFile(join(parent, 'rowmill-file'), '');
  const root = process.getuid?.() === 0;
  if (root) {
    await mkdir(join(parent, 'rowmill-theirs'));
    await chown(join(parent, 'rowmill-theirs'), 1234, 1234);
  }
  await removeDeadTempDirs(parent, Date.now() + 2 * day);
  assert.deepEqual((await readdir(parent)).toSorted(), [
    'other',
    'rowmill-file',
    'rowmill-link',
    ...(root ? ['rowmill-theirs'] : []),
  ]);
  await removeDeadTempDirs(join(parent, 'none'));
});

test('where the path is too long for a socket there is a folder all the same, removed after a day', async () => {
  const long = join(parent, 'x'.repeat(100));
  await withTempDir(long, async (dir) => {
    // As if another, with a shorter way there, had made it.
    const machine = basename(await withTempDir(parent, async (other) => other)).slice(0, 17);
    await mkdir(join(long, `${machine}-1`));
    await removeDeadTempDirs(long);
    assert.deepEqual((await readdir(long)).length, 2);
    await rm(join(long, `${machine}-1`), { recursive: true });
    const before = new Date(Date.now() - day - 1_000);
    await utimes(dir, before, before);
    await removeDeadTempDirs(long);
    assert.deepEqual(await readdir(long), []);
  });
});

test('a folder that cannot be made or written to is a fault of the deployment, and is named', async () => {
  const file = join(parent, 'file');
  await writeFile(file, '');
  for (const place of [file, join(file, 'below')])
    await assert.rejects(
      withTempDir(place, () => assert.fail('it ran')),
      (error: Error & { dependency?: string; code?: string }) => {
        assert.deepEqual(
          [error.name, error.dependency, error.code],
          ['DeploymentError', 'temp_space', 'temp_dir_unusable'],
        );
        assert.ok(error.message.startsWith(`TEMP_DIR ${place} cannot be written to (E`), error.message);
        return true;
      },
    );
});
