import { job, minutes } from '../../queue/job.ts';
import { takePost } from './post/ledger.ts';
import { publishPayload } from './post/payload.ts';
import { publishPost } from './post/steps.ts';

/**
 * Publishes a post on TikTok, YouTube, Instagram or Facebook. Each step is written down before the next, and the
 * request that makes the post public is never sent twice: README.md of this folder says how.
 */
export default job({
  name: 'social.publish',
  payload: publishPayload,
  sensitive: ['credentials'],
  // For the largest file over a slow line; a wait for the platform is a snooze, and holds no slot.
  timeout: minutes(120),

  async run(context) {
    const post = await takePost(context.app, context.job, context.payload);
    if (post.status === 'published') {
      const { id: post_id, platform, external_id, url } = post;
      return { post_id, platform, external_id, url, repeated: true };
    }
    return publishPost(context, post);
  },
});
