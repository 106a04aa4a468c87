import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { LocalStorage } from '../../worker/base/storage/local.ts';
import { ffmpegEnv, generate } from '../support/clips.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { unlessEverything } from '../support/everything.ts';
import { add, reads } from '../support/jobs.ts';
import { processes } from '../support/process-table.ts';
import { spawnRowmill } from '../support/processes.ts';

// One of two workers is killed in the middle of a transcode.

let db: TestDatabase;
let dir: string;
let storage: LocalStorage;
before(async () => {
  db = await createDatabase();
  dir = await realpath(await mkdtemp(join(tmpdir(), 'killed-')));
  storage = new LocalStorage({ provider: 'local', dir: join(dir, 'storage') });
});
after(async () => {
  await db.drop();
  await rm(dir, { recursive: true });
});

const made = async () => {
  const keys = [];
  for await (const { key } of storage.list('processed/')) keys.push(key);
  return keys;
};

test(
  'another worker finishes the job; no ffmpeg, no temporary folder and no stray file in storage is left',
  { skip: unlessEverything || (process.platform !== 'linux' && 'it reads /proc') },
  async (t) => {
    const temp = join(dir, 'temp');
    const start = async (queue: string) => {
      const env = { ...ffmpegEnv, DATA_DIR: dir, TEMP_DIR: temp, QUEUES: queue, FFMPEG_PRESET: 'veryfast' };
      const child = await spawnRowmill(db.url, env);
      t.after(() => child.kill('SIGKILL'));
      return child;
    };
    const running = async () => (await processes()).filter(({ cwd }) => cwd?.startsWith(temp)).map(({ pid }) => pid);
    const source = '-f lavfi -i testsrc2=s=640x360:r=25:d=30 -f lavfi -i sine=d=30';
    const clip = await generate('long.mp4', `${source} -c:v libx264 -preset ultrafast -crf 40 -c:a aac`);
    await storage.put('uploads/long.mp4', clip, { contentType: 'video/mp4' });

    const workers = await Promise.all([start('media'), start('media')]);
    const payload = { inputPath: 'uploads/long.mp4', options: { formats: ['hls', 'dash', 'mp4'] } };
    const id = await add(db, 'media', 'transcode', { payload });
    const locked_by = await eventually(async () => {
      const row = await reads(db, id, { status: 'processing' });
      assert.ok(row['progress'] > 15);
      return row['locked_by'];
    }, 30_000);
    const { rows } = await db.query<{ pid: number }>('select pid from workers where id = $1', [locked_by]);
    const orphans = await running();
    assert.notDeepEqual(orphans, [], 'it encodes');
    const victim = workers.find(({ pid }) => pid === rows[0]!.pid)!;
    victim.kill('SIGKILL');
    await once(victim, 'exit');
    await eventually(async () => {
      assert.ok(!(await processes()).some(({ pid }) => orphans.includes(pid)));
    }, 2_000);
    assert.deepEqual(await made(), []);

    const { result, error_code } = await reads(db, id, { status: 'completed', attempt: 2, retry_count: 1 }, 60_000);
    assert.equal(error_code, 'worker_lost');
    const manifests = [result.hls.master_url, result.dash.manifest_url];
    const folder = result.mp4.key.replace('/video.mp4', '');
    const stored = await made();
    assert.ok(stored.every((key) => key.startsWith(`${folder}/`)));
    for (const url of manifests) assert.ok(stored.includes(fileURLToPath(url).slice(join(dir, 'storage/').length)));
    const playlists = stored.filter((key) => key.endsWith('.m3u8'));
    for (const key of playlists) {
      const text = String(await buffer(await storage.get(key)));
      for (const [, line, uri] of text.matchAll(/^([^#\n]+)$|URI="([^"]+)"/gm))
        assert.ok(stored.includes(join(key, '..', (line ?? uri)!)), `${key} names ${line ?? uri}`);
    }
    // Its platform starts it again.
    await start('publish');
    await eventually(async () => assert.deepEqual(await readdir(temp), []));
    assert.deepEqual(await running(), []);
  },
);
