import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { App } from '../../worker/app.ts';
import publish from '../../worker/jobs/social/publish.ts';
import { Queue } from '../../worker/queue/bullmq/queue.ts';
import { platforms, type Platform } from '../../worker/providers/social/social.ts';
import { ffmpegEnv } from '../support/clips.ts';
import { eventually } from '../support/eventually.ts';
import { slow, slowIf } from '../support/everything.ts';
import { add, reads } from '../support/jobs.ts';
import { accountOn, addPost, postOf, samples, startFakes, video, type Fakes, type PostRow } from '../support/social.ts';
import { createRig, type Rig } from '../support/worker.ts';

// Posts on the four platforms, over loopback: what is published, and that nothing is published twice.

let rig: Rig;
let fakes: Fakes;
let app: App;
const accounts = {} as Record<Platform, number>;
let count = 0;

before(async () => {
  rig = await createRig();
  fakes = await startFakes();
  await rig.db.query(`update queues set backoff_ms = 100 where name = 'social'`);
  const worker = await rig.worker(new Map([['social.publish', publish]]), { ...fakes.env, ...ffmpegEnv });
  app = worker.app;
  for (const platform of platforms) accounts[platform] = await accountOn(rig.db, platform);
  await app.storage.put('clips/launch.mp4', await video(), { contentType: 'video/mp4' });
});
after(async () => {
  await rig.close();
  await fakes.close();
});

const publishOn = (platform: Platform, content: object = {}, settings: object = {}) => {
  const all = { videoPath: '/clips/launch.mp4', title: `Launch ${++count}`, description: `No. ${count}`, ...content };
  return addPost(rig.db, accounts[platform], all, { ...samples[platform].settings, ...settings });
};

const ends = (id: number) =>
  eventually(async () => {
    const post = await postOf(rig.db, id);
    assert.match(post.status, /^(published|failed|unconfirmed|cancelled)$/, JSON.stringify(post));
    return post;
  }, 120_000);

const madeOf = (platform: Platform, { content }: PostRow) =>
  fakes[platform].posts.filter(({ text }) => text.includes(content.title) || text.includes(content.description));

/** The request that makes a post public. */
const submits: Record<Platform, RegExp> = {
  tiktok: /^\/upload$/,
  youtube: /^\/session$/,
  instagram: /\/media_publish$/,
  facebook: /\/videos$/,
};

for (const platform of platforms)
  suite(platform, () => {
    const afterWaiting = slowIf(platform === 'tiktok');

    test('a row becomes a post, once, and the row says where it is', async () => {
      const post = await ends(await publishOn(platform));
      assert.equal(post.error, null);
      assert.equal(post.status, 'published');
      assert.match(post.url, /^https:\/\/www\./);
      assert.equal(madeOf(platform, post).length, 1);
      const { rows } = await rig.db.query(`select status, step from social_post_steps where post_id = $1 order by id`, [
        post.id,
      ]);
      assert.deepEqual(rows[0], { status: 'scheduled', step: 'prepare' });
      assert.deepEqual(rows.at(-1), { status: 'published', step: 'done' });
    });

    afterWaiting('a submit whose answer is lost is looked up, and not sent a second time', async () => {
      fakes[platform].fail(submits[platform], 'lost');
      const post = await ends(await publishOn(platform));
      assert.equal(post.status, 'published', post.error);
      assert.equal(madeOf(platform, post).length, 1);
    });

    afterWaiting('a token that expires is renewed, and the post goes on at its step', async () => {
      const { valid } = fakes[platform];
      const renewals = valid.renewals;
      valid.token = `expired-${count}`;
      const post = await ends(await publishOn(platform));
      assert.equal(post.status, 'published', post.error);
      assert.equal(valid.renewals, renewals + 1);
      assert.equal(madeOf(platform, post).length, 1);
    });
  });

slow('a post of Instagram that was not taken is unconfirmed, and never sent again', async () => {
  fakes.instagram.fail(/\/media_publish$/, 'drop');
  const post = await ends(await publishOn('instagram'));
  assert.equal(post.status, 'unconfirmed');
  assert.equal(madeOf('instagram', post).length, 0);
  await reads(rig.db, post.job_id, { status: 'failed', error_code: 'social_unconfirmed' });
});

test("NEXUS' job is published with the token of its payload, and ends with a message if that expires", async () => {
  const payload = {
    platform: 'tiktok',
    credentials: { accessToken: fakes.tiktok.valid.token },
    content: { videoPath: '/clips/launch.mp4', title: 'My Video', description: 'Check this out!' },
    settings: { privacy: 'PUBLIC', allowComments: true },
  };
  process.env['DATABASE_URL'] = rig.db.url;
  const queue = new Queue('social-publishing', { connection: {} });
  const id = Number((await queue.add('publish-to-tiktok', payload)).id);
  await queue.close();
  const { result } = await reads(rig.db, id, { status: 'completed' }, 120_000);
  assert.match(result.url, /^https:\/\/www\.tiktok\.com\/@ada\/video\/7412345678901234567$/);
  const asRow = await add(rig.db, 'social', 'publish', { payload });
  await reads(rig.db, asRow, { status: 'completed' }, 120_000);
  assert.equal(fakes.tiktok.posts.filter(({ text }) => text === 'My Video\n\nCheck this out!').length, 2);
  const expired = await add(rig.db, 'social', 'publish', {
    payload: { ...payload, credentials: { accessToken: 'expired' } },
  });
  const row = await reads(rig.db, expired, { status: 'failed', error_code: 'social_reconnect' }, 120_000);
  assert.match(row['error'], /The token of the payload is not accepted: TikTok answered 401 access_token_invalid/);
});

test('a post that breaks the rules of its platform is refused before anything is sent', async () => {
  const asked = fakes.youtube.asked.length;
  const post = await ends(await publishOn('youtube', { title: `<${'x'.repeat(120)}>` }));
  assert.deepEqual([post.status, post.error_code], ['failed', 'social_content_refused']);
  assert.match(post.error, /the title has 122 characters, and may have 100; title and description may have no < and >/);
  assert.equal(fakes.youtube.asked.length, asked);
  const secret = await ends(await publishOn('tiktok', {}, { privacy: 'FRIENDS' }));
  assert.equal(secret.error_code, 'social_privacy_refused');
});

test('a post can be moved and cancelled until it is submitted, and not after', async () => {
  const { db } = rig;
  const later = await db.query<{ id: number; job_id: number }>(
    `insert into social_posts (account_id, content, scheduled_at) values ($1, '{}', now() + interval '1 h')
     returning id, job_id`,
    [accounts.tiktok],
  );
  const { id, job_id } = later.rows[0]!;
  await db.query(`update social_posts set scheduled_at = now() + interval '2 h' where id = $1`, [id]);
  const due = await db.query(`select run_at > now() + interval '90 min' as moved from jobs where id = $1`, [job_id]);
  assert.deepEqual(due.rows, [{ moved: true }]);
  await db.query(`update social_posts set status = 'cancelled' where id = $1`, [id]);
  await reads(db, job_id, { status: 'cancelled' });

  const post = await ends(await publishOn('facebook', { videoPath: undefined }));
  await assert.rejects(db.query(`update social_posts set status = 'cancelled' where id = $1`, [post.id]), {
    message: `post ${post.id} has been submitted: it can no longer be cancelled`,
  });
});
