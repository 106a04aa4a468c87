import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, suite, test } from 'node:test';
import fc from 'fast-check';
import { loadConfig } from '../../worker/base/config/config.ts';
import type { Adapter, Post, Task } from '../../worker/providers/social/adapter.ts';
import { createSocial, type Platform, type Social } from '../../worker/providers/social/social.ts';
import { everything, slowIf } from '../support/everything.ts';
import { isOfFile, type Asked } from '../support/platform.ts';
import { startFakes, type Fakes } from '../support/social.ts';

// Bytes of videos on their way to the platforms: in chunks that they take, from where a cut left them, and without more
// memory for a large file. The far side compares each byte with the file.

const sparseBytes = 700_000_000;
const mostBytes = 30_000_000;

let fakes: Fakes;
let social: Social;
let dir: string;
let bytes: Buffer;

before(async () => {
  [fakes, dir] = await Promise.all([startFakes(), mkdtemp(join(tmpdir(), 'upload-'))]);
  social = createSocial(loadConfig({ ...fakes.env, NODE_ENV: 'test' }));
  bytes = randomBytes(mostBytes);
  await writeFile(join(dir, 'video'), bytes);
  await writeFile(join(dir, 'sparse'), '');
  await truncate(join(dir, 'sparse'), sparseBytes);
});
afterEach(() => {
  for (const platform of ['tiktok', 'youtube', 'facebook'] as const) {
    fakes[platform].onBytes = undefined;
    fakes[platform].cuts = [];
  }
});
after(async () => {
  await fakes.close();
  await rm(dir, { recursive: true });
});

const forms: [name: string, platform: Exclude<Platform, 'instagram'>, settings: Post['settings']][] = [
  ['TikTok', 'tiktok', { privacy: 'PUBLIC' }],
  ['YouTube', 'youtube', { privacy: 'PUBLIC' }],
  ['a video of Facebook', 'facebook', {}],
  ['a reel of Facebook', 'facebook', { type: 'reel' }],
];

let count = 0;

function taskOf(platform: Platform, settings: Post['settings'], file: string, size: number): Task {
  const title = `Upload ${++count}.`;
  const facts = { bytes: size, duration: 10, codec: 'h264', width: 720, height: 1_280, fps: 30, format: 'mp4' };
  const none = async () => assert.fail('not asked for');
  const state: { state: Task['state']; uploadUrl: string | null } = { state: {}, uploadUrl: null };
  return Object.assign(state, {
    post: {
      title,
      description: title,
      tags: [],
      link: undefined,
      form: 'video',
      images: 0,
      hasThumbnail: false,
      settings,
    },
    access: { token: fakes[platform].valid.token, external_id: '17841400000000000' },
    media: {
      file: async () => ({ path: join(dir, file), facts }),
      videoUrl: none,
      imageUrl: none,
      thumbnail: none,
      thumbnailUrl: none,
    },
    external_id: null,
    signal: new AbortController().signal,
    save: async (saved: Task['state'], url: string | null = state.uploadUrl) =>
      void Object.assign(state, { state: saved, uploadUrl: url }),
    turn: async () => {},
    strangers: async (ids: string[]) => ids,
    warn: async () => {},
    progress: () => {},
  } satisfies Omit<Task, 'state' | 'uploadUrl'>);
}

/** As a job does it: a step that did not end is repeated, and a submit without an answer is looked up first. */
async function upload(adapter: Adapter, task: Task): Promise<void> {
  await adapter.prepare(task);
  await repeated(() => adapter.upload(task));
  let isSent = false;
  await repeated(async () => {
    if (isSent && (await adapter.find(task, new Date(0))).is === 'accepted') return;
    isSent = true;
    await adapter.submit(task);
  });
}

async function repeated(step: () => Promise<void>): Promise<void> {
  for (let tries = 0; ; tries++)
    try {
      return await step();
    } catch (error) {
      if (tries >= 10) throw error;
    }
}

const startOf = ({ headers }: Asked) =>
  Number(headers['offset'] ?? headers['file_offset'] ?? /^bytes (\d+)-/.exec(String(headers['content-range']))![1]);

for (const [name, platform, settings] of forms)
  suite(name, () => {
    test('a file of any size, cut at any bytes, arrives as it is, in one post', async () => {
      const fake = fakes[platform];
      const size = fc.oneof(
        fc.integer({ min: 1, max: mostBytes }),
        // Around the borders of chunks.
        fc.constantFrom(1, 262_144, 8_388_607, 8_388_608, 8_388_609, 16_777_216, 10_000_000, 19_999_999, 20_000_000),
      );
      const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 });
      await fc.assert(
        fc.asyncProperty(size, cuts, async (total, shares) => {
          const posts = fake.posts.length;
          const task = taskOf(platform, settings, 'video', total);
          let wrong = 0;
          let parts = 0;
          fake.onBytes = (asked, chunk, at) => {
            const start = startOf(asked) + at;
            if (at === 0) parts++;
            if (!chunk.equals(bytes.subarray(start, start + chunk.length))) wrong++;
          };
          fake.cuts = shares.map((share) => 1 + Math.floor(share * Math.min(total, 12_000_000)));
          await upload(social[platform].adapter, task);
          assert.equal(wrong, 0, 'bytes that are not those of the file');
          assert.ok(parts <= 6 + 2 * shares.length, `${parts} parts`);
          assert.equal(fake.posts.length, posts + 1);
        }),
        { numRuns: everything ? 60 : 12 },
      );
    });

    slowIf(platform !== 'youtube')('700 MB need no more memory than 7', async (t) => {
      const task = taskOf(platform, settings, 'sparse', sparseBytes);
      let sent = 0;
      fakes[platform].onBytes = (_, chunk) => void (sent += chunk.length);
      globalThis.gc?.();
      const first = process.memoryUsage().rss;
      let most = first;
      const sampling = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 20);
      await upload(social[platform].adapter, task);
      clearInterval(sampling);
      t.diagnostic(`${Math.round((most - first) / 1e6)} MB more at its peak`);
      assert.equal(sent, sparseBytes);
      assert.ok(most - first < 150_000_000, `${most - first} bytes more`);
    });
  });

test('a part of a file is told from other requests', () => {
  assert.ok(isOfFile({ headers: { 'content-range': 'bytes 0-1/2' } }));
  assert.ok(!isOfFile({ headers: { 'content-range': 'bytes */2' } }));
});
