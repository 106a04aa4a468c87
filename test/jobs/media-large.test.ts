import assert from 'node:assert/strict';
import { mkdir, mkdtemp, open, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ffmpegEnv, generate } from '../support/clips.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { unlessEverything } from '../support/everything.ts';
import { add, reads } from '../support/jobs.ts';
import { spawnRowmill } from '../support/processes.ts';

// A video of 2 GB through a worker as it is started.

const size = 2_000_000_000;

let db: TestDatabase;
let dir: string;
before(async () => {
  db = await createDatabase();
  dir = await realpath(await mkdtemp(join(tmpdir(), 'large-')));
});
after(async () => {
  await db.drop();
  await rm(dir, { recursive: true });
});

test(
  'the memory of a worker stays flat',
  { skip: unlessEverything || (process.platform !== 'linux' && 'it reads /proc') },
  async (t) => {
    await mkdir(join(dir, 'storage/uploads'), { recursive: true });
    await grow(join(dir, 'storage/uploads/large.mp4'), await clip());
    const worker = await spawnRowmill(db.url, { ...ffmpegEnv, DATA_DIR: dir, TEMP_DIR: dir, QUEUES: 'media' });
    t.after(() => worker.kill('SIGKILL'));
    const held = async (what: 'VmRSS' | 'VmHWM') => {
      const status = await readFile(`/proc/${worker.pid}/status`, 'utf8');
      return Number(new RegExp(`${what}:\\s+(\\d+)`).exec(status)![1]) * 1024;
    };

    const idle = await held('VmRSS');
    const id = await add(db, 'media', 'video', { payload: { s3Key: 'uploads/large.mp4' } });
    const { result } = await reads(db, id, { status: 'completed', attempt: 1 }, 120_000);
    assert.deepEqual([result.metadata.bytes, result.mode], [size, 'copy']);
    const growth = (await held('VmHWM')) - idle;
    t.diagnostic(`${Math.round(growth / 1e6)} MB more than before, for a file of ${size / 1e6} MB`);
    assert.ok(growth < size / 10, `${growth} bytes`);
  },
);

const clip = () =>
  generate('clip.mp4', '-f lavfi -i testsrc2=s=320x180:d=2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p');

/** Writes an MP4 and behind it a box of nothing, which takes no room on the disk. ISO/IEC 14496-12, 8.1.2 */
async function grow(path: string, mp4: Buffer): Promise<void> {
  const box = Buffer.from('\0\0\0\0free', 'latin1');
  box.writeUInt32BE(size - mp4.length);
  await writeFile(path, Buffer.concat([mp4, box]));
  const file = await open(path, 'r+');
  await file.truncate(size);
  await file.close();
}
