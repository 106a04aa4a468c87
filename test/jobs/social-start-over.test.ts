import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import publish from '../../worker/jobs/social/publish.ts';
import { ffmpegEnv } from '../support/clips.ts';
import { eventually } from '../support/eventually.ts';
import { slow } from '../support/everything.ts';
import { reads } from '../support/jobs.ts';
import { metaError } from '../support/meta.ts';
import { accountOn, addPost, postOf, startFakes, type Fakes } from '../support/social.ts';
import { createRig, type Rig } from '../support/worker.ts';

// What was prepared on a platform may be gone: a container expires. It is prepared anew, but not for ever, and not
// while the platform may have published what was prepared before.

let rig: Rig;
let fakes: Fakes;
let account: number;

before(async () => {
  [rig, fakes] = await Promise.all([createRig(), startFakes()]);
  await rig.db.query(`update queues set backoff_ms = 100 where name = 'social'`);
  await rig.worker(new Map([['social.publish', publish]]), { ...fakes.env, ...ffmpegEnv });
  account = await accountOn(rig.db, 'instagram');
});
after(async () => {
  await rig.close();
  await fakes.close();
});

const picture = (title: string) => addPost(rig.db, account, { imagePaths: ['a.jpg'], title });
const becomes = (id: number, status: string) =>
  eventually(async () => {
    const post = await postOf(rig.db, id);
    assert.equal(post.status, status, JSON.stringify(post));
    return post;
  });

slow('a container that expires again and again is made six times, and then the post has failed', async () => {
  const { containers, will } = fakes.instagram;
  const made = containers.length;
  will.container = 'EXPIRED';
  const post = await becomes(await picture('Expired'), 'failed');
  will.container = 'FINISHED';
  assert.equal(post.error_code, 'social_started_over');
  assert.equal(containers.length - made, 6);
  await reads(rig.db, post.job_id, { status: 'failed', error_code: 'social_started_over' });
});

slow('a submit without an answer is not prepared anew when its container is gone: it is unconfirmed', async () => {
  const { containers, posts } = fakes.instagram;
  const made = containers.length;
  fakes.instagram.onRequest = (when, { path }) => {
    if (when !== 'after' || !path.endsWith('/media_publish')) return undefined;
    // It was published, nobody was told, and the container can no longer be read.
    fakes.instagram.fail(/\/c\d+$/, metaError(400, 24, { error_subcode: 2_207_020 }), Infinity);
    return 'drop';
  };
  const post = await becomes(await picture('Gone'), 'unconfirmed');
  assert.equal(containers.length - made, 1);
  assert.equal(posts.filter(({ text }) => text === 'Gone').length, 1);
  assert.match(post.error, /Nobody knows whether post \d+ was published/);
});
