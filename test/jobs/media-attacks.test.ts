import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createFfmpeg } from '../../worker/media/ffmpeg/ffmpeg.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { attacks, type Attack } from '../support/attacks.ts';
import { eventually } from '../support/eventually.ts';
import { everything } from '../support/everything.ts';
import { ffmpegs } from '../support/ffmpegs.ts';
import { add, rows } from '../support/jobs.ts';
import { holdsNothing } from '../support/leaks.ts';
import { processes } from '../support/process-table.ts';
import { createRig, type Rig } from '../support/worker.ts';

// Files that nobody should open, as originals of media jobs: each is refused, or becomes what holds nothing of others.
// Each goes to media.image, and to one other kind in turn; TEST_ALL=on: to every kind, by every ffmpeg.

const registry = await loadRegistry();
const byFfmpeg = ['video', 'audio', 'transcode', 'thumbnails'];
const kindsFor = (index: number) => ['image', ...(everything ? byFfmpeg : [byFfmpeg[index % byFfmpeg.length]!])];
/** Pictures, and what begins with one: no video, but for media.image to take. */
const pictures = ['gif', 'png', 'jpeg, then mp4'];

let root: string;
let all: Attack[];
let rig: Rig;
let heard = 0;
const listener = createServer((socket) => {
  heard += 1;
  socket.destroy();
});

before(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'attacks-')));
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  all = await attacks(root, (listener.address() as { port: number }).port);
  rig = await createRig();
  await rig.db.query(`update queues set backoff_ms = 10 where name = 'media'`);
});
after(async () => {
  listener.close();
  await rig.close();
  await rm(root, { recursive: true });
});

for (const { name, config } of ffmpegs)
  describe(name, () => {
    test('through all kinds of jobs, with no sandbox', async () => {
      const [temp, data] = [join(root, 'temp', name), join(root, 'data', name)];
      const env = { QUEUES: 'media', TEMP_DIR: temp, DATA_DIR: data, MEDIA_MEMORY_MB: '1000' };
      const worker = await rig.worker(registry, env);
      worker.app.ffmpeg = createFfmpeg({ ...config, sandbox: 'none' });

      const originals = join(data, 'storage/originals');
      await mkdir(originals, { recursive: true });
      const jobs = new Map<number, { attack: Attack; kind: string }>();
      for (const [index, attack] of all.entries()) {
        await copyFile(attack.path, join(originals, `${index}.mp4`));
        for (const kind of kindsFor(index)) {
          const s3Key = `originals/${index}.mp4`;
          const { rows: media } = await rig.db.query(`insert into media (source_key) values ($1) returning id`, [
            s3Key,
          ]);
          const payload = kind === 'thumbnails' ? { mediaId: media[0].id } : { s3Key };
          jobs.set(await add(rig.db, 'media', kind, { payload }), { attack, kind });
        }
      }
      await eventually(async () => {
        const { rows: left } = await rig.db.query(`select id from media_jobs where completed_at is null`);
        assert.deepEqual(left, []);
      }, 120_000);
      await worker.stop();

      for (const { id, status, error_code, error, result } of await rows(rig.db, [...jobs.keys()])) {
        const { attack, kind } = jobs.get(id)!;
        const what = `${kind} of ${attack.name}: ${status} ${error_code} ${error}`;
        await holdsNothing(Buffer.from(JSON.stringify([error, result])), what);
        assert.doesNotMatch(String(error), new RegExp(`${root}|\\n`), what);
        if (attack.refused && !pictures.includes(attack.name)) assert.equal(status, 'failed', what);
      }
      for (const entry of await readdir(join(data, 'storage'), { recursive: true, withFileTypes: true }))
        if (entry.isFile() && entry.parentPath !== originals)
          await holdsNothing(await readFile(join(entry.parentPath, entry.name)), entry.name);
      assert.equal(heard, 0, 'no connection was made');
      assert.deepEqual(await readdir(temp), [], 'no temporary file is left');
      assert.deepEqual(
        (await processes()).filter(({ cwd }) => cwd?.startsWith(root)),
        [],
      );
    });
  });
