import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createStorage } from '../../worker/base/storage/create.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { platforms } from '../../worker/providers/social/social.ts';
import { ffmpegEnv } from '../support/clips.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { accountOn, addPost, postOf, samples, startFakes, video, type Fakes } from '../support/social.ts';

// Workers that are killed at any request: before it is processed, after it, and after its answer. SOCIAL_KILLS says how
// often for each platform.

const kills = Number(process.env['SOCIAL_KILLS'] ?? 3);
let db: TestDatabase;
let fakes: Fakes;
let dir: string;

before(async () => {
  db = await createDatabase();
  fakes = await startFakes();
  dir = await mkdtemp(join(tmpdir(), 'rowmill-social-'));
  await db.query(`update schedules set enabled = false`);
  const { storage } = loadConfig({ DATA_DIR: dir, CDN_BASE_URL: 'https://cdn.example' });
  await createStorage(storage).put('launch.mp4', await video(), { contentType: 'video/mp4' });
});
after(async () => {
  await fakes.close();
  await db.drop();
  await rm(dir, { recursive: true, force: true });
});

async function startKillable(): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, '../support/social-process.ts'), [], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: {
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
      DATABASE_URL: db.url,
      DATA_DIR: dir,
      LOG_LEVEL: 'silent',
      QUEUES: 'social',
      WORKER_POLL_INTERVAL: '200',
      ...ffmpegEnv,
      ...fakes.env,
    },
  });
  process.once('exit', () => child.kill('SIGKILL'));
  await once(child, 'message');
  return child;
}

/** Requests of a post that goes well, and a few more, so that the end is hit, too. */
const requests = 7;

for (const platform of platforms)
  test(`${platform}: a worker killed at any request publishes a post once, or leaves it unconfirmed`, async () => {
    const account = await accountOn(db, platform);
    for (let round = 0; round < kills; round++) {
      let child = await startKillable();
      const at = Math.floor(Math.random() * requests);
      const moment = (['before', 'after', 'answered'] as const)[Math.floor(Math.random() * 3)]!;
      let seen = 0;
      const died = Promise.withResolvers<void>();
      const kill = () => {
        child.kill('SIGKILL');
        died.resolve();
      };
      fakes[platform].onRequest = (now) => {
        if (now === 'before' && seen++ !== at && moment !== 'after') return;
        if (seen - 1 !== at) return;
        if (moment === now) kill();
        else if (moment === 'answered' && now === 'after') setTimeout(kill, Math.random() * 30);
      };
      const title = `${platform} ${round} ${at} ${moment}`;
      const content = { videoPath: 'launch.mp4', title, description: title };
      const id = await addPost(db, account, content, samples[platform].settings);
      const isOver = async () => /published|failed|unconfirmed/.test((await postOf(db, id)).status);
      await Promise.race([died.promise, eventually(async () => assert.ok(await isOver()), 120_000)]);
      fakes[platform].onRequest = undefined;
      if (child.killed) child = await startKillable();
      await eventually(async () => assert.ok(await isOver(), title), 180_000);
      child.kill('SIGKILL');

      const post = await postOf(db, id);
      const made = fakes[platform].posts.filter(({ text }) => text.includes(title)).length;
      assert.ok(
        post.status === 'published' ? made === 1 : post.status === 'unconfirmed' && made <= 1,
        `${title}: ${made}`,
      );
    }
  });
