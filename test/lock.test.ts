import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

type Package = Record<'dependencies' | 'optionalDependencies', Record<string, string> | undefined>;

test('the lock file names every package that npm ci may ask for, on every platform', async () => {
  const { packages } = JSON.parse(await readFile(join(import.meta.dirname, '../package-lock.json'), 'utf8')) as {
    packages: Record<string, Package>;
  };
  const missing = Object.entries(packages).flatMap(([path, { dependencies, optionalDependencies }]) =>
    Object.keys({ ...dependencies, ...optionalDependencies })
      .filter((name) => !places(path, name).some((place) => place in packages))
      .map((name) => `${name} of ${path}`),
  );
  assert.deepEqual(missing, []);
});

/** Where Node would look for `name` from the package at `path`, nearest first. */
function places(path: string, name: string): string[] {
  const place = `${path ? `${path}/` : ''}node_modules/${name}`;
  return path ? [place, ...places(path.slice(0, Math.max(0, path.lastIndexOf('node_modules/') - 1)), name)] : [place];
}
