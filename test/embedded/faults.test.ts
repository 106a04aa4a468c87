import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { faultOf, findBinaries } from '../../worker/embedded/binaries.ts';
import { initialise } from '../../worker/embedded/cluster.ts';
import { findPlace } from '../../worker/embedded/place.ts';
import { dataDir, open, usageError, usedDir } from './fixture.ts';

test('data of another major version is named, and what to do with it', async (t) => {
  const dir = await usedDir(t);
  const { dataPath, stop } = await open(t, dir);
  await stop();
  await writeFile(join(dataPath, 'PG_VERSION'), '15\n');
  await assert.rejects(open(t, dir), usageError(/made by PostgreSQL 15, and this is PostgreSQL 18\. Move it away/));
});

test('a directory that holds something else is left alone', async (t) => {
  const dir = await dataDir(t);
  await mkdir(join(dir, 'postgres'));
  await writeFile(join(dir, 'postgres', 'notes.txt'), 'mine');
  await assert.rejects(open(t, dir), usageError(/contains something that is no Postgres database: move it away/));
  assert.equal(await readFile(join(dir, 'postgres', 'notes.txt'), 'utf8'), 'mine');
  for (const path of ['postgres', 'postgres/notes.txt']) {
    assert.equal((await stat(join(dir, path))).uid, process.getuid?.());
  }
});

test('a server that does not start has the end of its log in the error', async (t) => {
  const dir = await usedDir(t);
  const { dataPath, stop } = await open(t, dir);
  await stop();
  await writeFile(join(dataPath, 'postgresql.conf'), 'no_such_setting = 1\n');
  await assert.rejects(open(t, dir), usageError(/did not start:[^]*no_such_setting/));
});

test('an initdb that fails has the end of its output in the error, and leaves nothing', async (t) => {
  const place = await findPlace(await dataDir(t));
  const initdb = join(await dataDir(t), 'initdb');
  await writeFile(initdb, '#!/bin/sh\necho "no space left" >&2\nexit 1\n', { mode: 0o755 });
  const broken = { ...place, binaries: { ...place.binaries, initdb } };
  await assert.rejects(initialise(broken), usageError(/could not make its data directory:\nno space left/));
  assert.deepEqual(readdirSync(place.dataDir), []);
});

test('an install without the package is told to set DATABASE_URL', async (t) => {
  const elsewhere = pathToFileURL(join(await dataDir(t), 'module.js')).href;
  await assert.rejects(findBinaries(elsewhere), usageError(/not installed .*Set DATABASE_URL/));
});

test('binaries that cannot run are found out, and so is a path that initdb cannot work from', async (t) => {
  const binaries = await findBinaries();
  const dir = await dataDir(t);
  const root = join(dir, 'root');
  await symlink(binaries.root, root);
  assert.equal(faultOf({ ...binaries, root }, undefined), undefined);
  const broken = join(dir, 'postgres');
  await writeFile(broken, '#!/none\n', { mode: 0o755 });
  assert.match(faultOf({ ...binaries, postgres: broken }, undefined) ?? '', /not found|No such file/);
  assert.match(faultOf({ ...binaries, root: '/it"s' }, undefined) ?? '', /cannot work from a path/);
});

test('a place that cannot be had is named', async (t) => {
  const file = join(await dataDir(t), 'file');
  await writeFile(file, '');
  await assert.rejects(open(t, join(file, 'data')), usageError(/cannot run in .*\/file\/data: ENOTDIR/));
});
