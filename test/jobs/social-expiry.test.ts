import assert from 'node:assert/strict';
import { after, afterEach, before, suite, test } from 'node:test';
import publish from '../../worker/jobs/social/publish.ts';
import { platforms, type Platform } from '../../worker/providers/social/social.ts';
import { ffmpegEnv } from '../support/clips.ts';
import { eventually } from '../support/eventually.ts';
import type { Asked } from '../support/platform.ts';
import { accountOn, addPost, padded, postOf, samples, startFakes, video, type Fakes } from '../support/social.ts';
import { createRig, type Rig } from '../support/worker.ts';

// The token of an account expires in the middle of an upload, and of the questions after the submit: it is renewed
// once, and the post goes on at its step. A publisher that began anew would publish twice.

let rig: Rig;
let fakes: Fakes;
const accounts = {} as Record<Platform, number>;

before(async () => {
  [rig, fakes] = await Promise.all([createRig(), startFakes()]);
  await rig.db.query(`update queues set backoff_ms = 20 where name = 'social'`);
  const { app } = await rig.worker(new Map([['social.publish', publish]]), { ...fakes.env, ...ffmpegEnv });
  for (const platform of platforms) accounts[platform] = await accountOn(rig.db, platform);
  await app.storage.put('clip.mp4', padded(await video(), 20_000_000), { contentType: 'video/mp4' });
});
afterEach(() => rig.db.query(`delete from rate_limits`));
after(async () => {
  await rig.close();
  await fakes.close();
});

type Where = { step: 'upload' | 'poll'; at: RegExp; nth: number; prepares: RegExp };

/** The request before which the token expires, and what would be asked again if the post began anew. */
const places: [Platform, Where][] = [
  // Chunks of TikTok need no token: the token expires while they are sent, and the status is the first to notice.
  ['tiktok', { step: 'upload', at: /^\/upload$/, nth: 1, prepares: /video\/init/ }],
  ['tiktok', { step: 'poll', at: /status\/fetch/, nth: 1, prepares: /video\/init/ }],
  // The first is the question how far the upload is.
  ['youtube', { step: 'upload', at: /^\/session$/, nth: 3, prepares: /^\/upload\// }],
  ['youtube', { step: 'poll', at: /^\/youtube\/v3\/videos$/, nth: 1, prepares: /^\/upload\// }],
  ['instagram', { step: 'upload', at: /\/c\d+$/, nth: 1, prepares: /\/media$/ }],
  ['instagram', { step: 'poll', at: /\/post\d+$/, nth: 1, prepares: /\/media$/ }],
  ['facebook', { step: 'upload', at: /\/upload:/, nth: 2, prepares: /\/app\/uploads$/ }],
  ['facebook', { step: 'poll', at: /\/post\d+$/, nth: 1, prepares: /\/app\/uploads$/ }],
];

let count = 0;
for (const [platform, { step, at, nth, prepares }] of places)
  suite(platform, () => {
    test(`a token that expires in the middle of ${step}: renewed once, and resumed there`, async () => {
      const fake = fakes[platform];
      const { renewals } = fake.valid;
      const [asked, posts] = [fake.asked.length, fake.posts.length];
      let left = nth;
      fake.onRequest = (when: string, { path }: Asked) => {
        if (when === 'before' && at.test(path) && --left === 0) fake.valid.token = `expired-${count}`;
      };
      const content = { videoPath: 'clip.mp4', title: `Expiry ${++count}`, description: `Expiry ${count}` };
      const id = await addPost(rig.db, accounts[platform], content, samples[platform].settings);
      await eventually(async () => {
        const post = await postOf(rig.db, id);
        assert.equal(post.status, 'published', post.error ?? post.reason);
      });
      fake.onRequest = undefined;
      assert.ok(left <= 0, 'the token expired');
      assert.equal(fake.valid.renewals, renewals + 1);
      assert.equal(fake.posts.length, posts + 1);
      const again = fake.asked.slice(asked).filter(({ method, path }) => method !== 'GET' && prepares.test(path));
      assert.equal(again.length, 1, 'it was prepared once');
      const { rows } = await rig.db.query(
        `select step from social_post_steps where post_id = $1 and reason is null order by id`,
        [id],
      );
      const way = rows.map((row) => row.step).filter((name, n, all) => name !== all[n - 1]);
      assert.deepEqual(way, ['prepare', 'upload', 'submit', 'poll', 'done']);
    });
  });
