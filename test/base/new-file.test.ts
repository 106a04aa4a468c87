import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { writeNew } from '../../worker/base/new-file.ts';

test('a file whose source breaks off at once is not created after that, and the next try writes it', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'new-file-'));
  t.after(() => rm(dir, { recursive: true }));
  const path = join(dir, 'file');
  await assert.rejects(
    writeNew(path, () => Promise.reject(new Error('broken off'))),
    /broken off/,
  );
  // Another file is made in the time in which this one would be.
  await writeNew(join(dir, 'other'), (file) => pipeline(Readable.from(['other']), file));
  await turn();
  assert.deepEqual(await readdir(dir), ['other']);

  await writeNew(path, (file) => pipeline(Readable.from(['whole']), file));
  await assert.rejects(
    writeNew(path, (file) => pipeline(Readable.from(['again']), file)),
    { code: 'EEXIST' },
  );
  assert.equal(await readFile(path, 'utf8'), 'whole');
});
