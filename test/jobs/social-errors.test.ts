import assert from 'node:assert/strict';
import { after, afterEach, before, suite, test } from 'node:test';
import publish from '../../worker/jobs/social/publish.ts';
import { platforms, type Platform } from '../../worker/providers/social/social.ts';
import { ffmpegEnv } from '../support/clips.ts';
import { eventually } from '../support/eventually.ts';
import type { Row as Job } from '../support/jobs.ts';
import { documented } from '../support/social-errors.ts';
import { accountOn, addPost, postOf, samples, startFakes, video, type Fakes, type PostRow } from '../support/social.ts';
import { createRig, type Rig } from '../support/worker.ts';

// Each documented error of each platform, once, to the first request of a post: what becomes of the post, its job, its
// account, and the limits.

let rig: Rig;
let fakes: Fakes;
const accounts = {} as Record<Platform, number>;

before(async () => {
  [rig, fakes] = await Promise.all([createRig(), startFakes()]);
  await rig.db.query(`update queues set backoff_ms = 20 where name = 'social'`);
  const { app } = await rig.worker(new Map([['social.publish', publish]]), { ...fakes.env, ...ffmpegEnv });
  for (const platform of platforms) accounts[platform] = await accountOn(rig.db, platform);
  await app.storage.put('clip.mp4', await video(), { contentType: 'video/mp4' });
});
// What waits does not go on in the next test. TikTok takes six posts a minute of an account.
afterEach(() =>
  rig.db.query(
    `update social_posts set status = 'cancelled' where status = 'publishing';
     delete from rate_limits;
     delete from social_limits;
     update social_accounts set status = 'active'`,
  ),
);
after(async () => {
  await rig.close();
  await fakes.close();
});

/** The first request. */
const first: Record<Platform, RegExp> = {
  tiktok: /creator_info/,
  youtube: /^\/upload\//,
  instagram: /content_publishing_limit$/,
  facebook: /\/photos$/,
};
const contents: Record<Platform, object> = {
  tiktok: { imagePaths: ['a.jpg'] },
  youtube: { videoPath: 'clip.mp4' },
  instagram: { imagePaths: ['a.jpg'] },
  facebook: { imagePaths: ['a.jpg'] },
};

type Seen = { post: PostRow; job: Job; account: string; limits: { key: string; wait: number }[] };

async function look(id: number): Promise<Seen> {
  const post = await postOf(rig.db, id);
  const { rows: jobs } = await rig.db.query<Job>(`select * from jobs where id = $1`, [post.job_id]);
  const { rows: found } = await rig.db.query(`select status from social_accounts where id = $1`, [post.account_id]);
  const { rows: limits } = await rig.db.query<{ key: string; wait: number }>(
    `select key, extract(epoch from until - now())::float8 * 1000 as wait from social_limits`,
  );
  return { post, job: jobs[0]!, account: found[0].status, limits };
}

/** What a person sees, by what the error means. */
function check(expected: string, words: RegExp, { post, job, account, limits }: Seen, platform: Platform): void {
  if (expected === 'ReconnectNeeded') {
    assert.deepEqual(
      [post.status, job.status, job.retry_count, account],
      ['publishing', 'pending', 0, 'needs_reconnect'],
    );
    assert.match(post.reason, /must be connected again: /);
    assert.match(post.reason, words);
    return;
  }
  assert.equal(account, 'active');
  if (/^(TokenRefused|StartOver|social_unavailable)$/.test(expected)) {
    assert.equal(post.status, 'published', post.error);
    assert.equal(job.retry_count, expected === 'social_unavailable' ? 1 : 0);
    return;
  }
  if (expected.startsWith('social_')) {
    assert.deepEqual([post.status, post.error_code, job.status], ['failed', expected, 'failed']);
    assert.match(post.error, words);
    return;
  }
  const [, scope, wait] = /^(app|account) (.+)$/.exec(expected)!;
  assert.deepEqual([post.status, job.status, job.retry_count], ['publishing', 'pending', 0]);
  assert.match(post.reason, words);
  assert.deepEqual(
    limits.map(({ key }) => key),
    [scope === 'app' ? `app ${platform}` : `account ${accounts[platform]}`],
  );
  const { wait: waits } = limits[0]!;
  const most = wait!.startsWith('{') ? 25 * 3_600_000 : Number(wait);
  assert.ok(waits <= most && (wait!.startsWith('{') || waits > most - 60_000), `waits ${waits}`);
  assert.ok(Math.abs(job.run_at - Date.now() - waits) < 10_000, 'the job comes back when the limit ends');
}

/** What might be a token is cut out of messages: also a long word. */
const wordsOf = (message: string) => new RegExp(message.replace(/\w{40,}/, '\\.\\.\\.'));

let count = 0;
for (const platform of platforms)
  suite(platform, () => {
    for (const [answer, expected] of documented[platform]) {
      const body = answer.body as { error: { message: string } };
      test(`${answer.status} ${JSON.stringify(body.error)}`, async () => {
        fakes[platform].fail(first[platform], answer);
        const content = { ...contents[platform], title: `Error ${++count}`, description: `Error ${count}` };
        const id = await addPost(rig.db, accounts[platform], content, samples[platform].settings);
        await eventually(async () => check(expected, wordsOf(body.error.message), await look(id), platform), 20_000);
      });
    }
  });
