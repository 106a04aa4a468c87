import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import publish from '../../worker/jobs/social/publish.ts';
import { platforms, type Platform } from '../../worker/providers/social/social.ts';
import { ffmpegEnv } from '../support/clips.ts';
import { eventually } from '../support/eventually.ts';
import { accountOn, addPost, postOf, startFakes, video, type Fakes } from '../support/social.ts';
import { createRig, type Rig } from '../support/worker.ts';

// How often platforms may be asked: quotas of a day, what Instagram says of its own, and Meta's headers of usage. A
// post that must wait says so in its row, and uses no retry.

let rig: Rig;
let fakes: Fakes;
const accounts = {} as Record<Platform, number>;
const hour = 3_600_000;

before(async () => {
  [rig, fakes] = await Promise.all([createRig(), startFakes()]);
  const env = { ...fakes.env, ...ffmpegEnv, YOUTUBE_DAILY_UPLOADS: '2' };
  const { app } = await rig.worker(new Map([['social.publish', publish]]), env);
  for (const platform of platforms) accounts[platform] = await accountOn(rig.db, platform);
  await app.storage.put('clip.mp4', await video(), { contentType: 'video/mp4' });
});
afterEach(async () => {
  await rig.db.query(`update social_posts set status = 'cancelled' where status = 'publishing';
                      delete from social_limits; delete from rate_limits`);
  Object.assign(fakes.instagram.will, { used: 0, headers: {} });
  Object.assign(fakes.facebook.will, { headers: {} });
});
after(async () => {
  await rig.close();
  await fakes.close();
});

let count = 0;
const schedule = (platform: Platform, content: object, settings: object = {}) =>
  addPost(rig.db, accounts[platform], { title: `Quota ${++count}`, description: `No. ${count}`, ...content }, settings);

const isPublished = (id: number) =>
  eventually(async () => {
    const post = await postOf(rig.db, id);
    assert.equal(post.status, 'published', post.error ?? post.reason);
  });

/** @returns when its job runs again, in milliseconds from now */
const waits = (id: number, reason: RegExp) =>
  eventually(async () => {
    const { status, reason: told, job_id } = await postOf(rig.db, id);
    assert.equal(status, 'publishing');
    assert.match(told ?? '', reason);
    const { rows } = await rig.db.query<{ status: string; retry_count: number; wait: number }>(
      `select status, retry_count, extract(epoch from run_at - now())::float8 * 1000 as wait from jobs where id = $1`,
      [job_id],
    );
    const [{ wait, ...job }] = rows as [{ status: string; retry_count: number; wait: number }];
    assert.deepEqual(job, { status: 'pending', retry_count: 0 });
    return wait;
  });

const about = (wait: number, expected: number) =>
  assert.ok(Math.abs(wait - expected) < 60_000, `it waits ${wait} ms, and not ${expected}`);

test('YouTube: the uploads of a day are used up until midnight in Los Angeles', async () => {
  for (const _ of [1, 2]) await isPublished(await schedule('youtube', { videoPath: 'clip.mp4' }));
  const asked = fakes.youtube.asked.length;
  const wait = await waits(
    await schedule('youtube', { videoPath: 'clip.mp4' }),
    /youtube takes 2 posts a day of one app/,
  );
  const { rows } = await rig.db.query<{ midnight: number }>(
    `select extract(epoch from (date_trunc('day', now() at time zone zone) + interval '1 day') at time zone zone
                               - now())::float8 * 1000 as midnight
       from (values ('America/Los_Angeles')) z (zone)`,
  );
  about(wait, rows[0]!.midnight);
  assert.equal(fakes.youtube.asked.length, asked, 'YouTube was not asked');
});

test('Instagram: as many posts as it says itself, whatever its documents say', async () => {
  fakes.instagram.will.used = 24;
  await isPublished(await schedule('instagram', { imagePaths: ['a.jpg'] }));
  fakes.instagram.will.used = 25;
  const first = await schedule('instagram', { imagePaths: ['a.jpg'] });
  about(await waits(first, /Instagram takes 25 posts within 24 hours, and has 25/), hour);
  const asked = fakes.instagram.asked.length;
  const second = await schedule('instagram', { imagePaths: ['a.jpg'] });
  about(await waits(second, /Instagram takes 25 posts/), hour);
  assert.equal(fakes.instagram.asked.length, asked, 'the limit is known: it is not asked again');
});

test('Facebook: thirty reels within 24 hours, and any number of other posts', async () => {
  await rig.db.query(
    `with p as (
       insert into social_posts (account_id, content, settings, status, step)
       select $1, '{}', '{"type": "reel"}', 'published', 'done' from generate_series(1, 30) returning id
     )
     insert into social_attempts (post_id, status, fingerprint, job_id, job_attempt, sent_at)
     select id, 'accepted', 'x', 1, 1, now() - interval '20 hours' from p`,
    [accounts.facebook],
  );
  const reel = await schedule('facebook', { videoPath: 'clip.mp4' }, { type: 'reel' });
  about(await waits(reel, /facebook takes 30 posts a day of one account/), 4 * hour);
  await isPublished(await schedule('facebook', {}));
});

for (const [platform, headers, key, wait] of [
  ['facebook', { 'x-app-usage': '{"call_count": 95, "total_time": 3}' }, 'app facebook', hour / 12],
  [
    'instagram',
    {
      'x-business-use-case-usage':
        '{"1": [{"type": "instagram", "call_count": 97, "estimated_time_to_regain_access": 7}]}',
    },
    'account',
    7 * 60_000,
  ],
] as const)
  test(`${platform}: a limit that is nearly used up pauses the next posts, and not this one`, async () => {
    fakes[platform].will.headers = headers;
    const content = platform === 'facebook' ? {} : { imagePaths: ['a.jpg'] };
    await isPublished(await schedule(platform, content));
    const { rows } = await rig.db.query<{ key: string }>(`select key from social_limits`);
    assert.deepEqual(rows, [{ key: key === 'account' ? `account ${accounts[platform]}` : key }]);
    about(await waits(await schedule(platform, content), /9[57] % of a limit are used \(SOCIAL_USAGE_PAUSE\)/), wait);
  });
