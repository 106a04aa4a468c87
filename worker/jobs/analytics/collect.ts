import { z } from 'zod';
import type { App } from '../../app.ts';
import { PermanentError } from '../../base/errors.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { ReconnectNeeded, TokenRefused } from '../../providers/social/errors.ts';
import type { OfAccount, OfPost, Readings } from '../../providers/social/metrics.ts';
import { platforms, type Platform } from '../../providers/social/social.ts';
import { job, minutes } from '../../queue/job.ts';
import { withAccess } from '../social/account/account.ts';
import { withinLimits } from '../social/account/limits.ts';

const sql = loadStatements(import.meta.dirname, 'collect.sql', [
  'add_jobs',
  'put_account',
  'put_posts',
  'make_partition',
  'put_points',
]);

/** Older posts hardly change; each costs a request on some platforms. */
const newestPosts = 200;
const daysOfPosts = 90;

const payload = z
  .object({
    type: z.literal('collect').optional(),
    /** A row of social_accounts. Without it and without a token: all active ones, each in a job of its own. */
    accountId: z.int().min(1).optional(),
    platform: z.enum(platforms).optional(),
    /** In place of an account of social_accounts. */
    accessToken: z.string().min(1).max(4_000).optional(),
    /** The platform's id of one post. Default: the newest posts of the account. */
    postId: z
      .union([z.string().min(1).max(200), z.int().min(1)])
      .transform(String)
      .optional(),
  })
  .superRefine(({ accessToken, accountId, platform, postId }, context) => {
    const issue = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    if (accessToken !== undefined && platform === undefined) issue('platform', 'is missing: whose token it is');
    if (accessToken !== undefined && accountId !== undefined) issue('accountId', 'is given, and accessToken too');
    if (postId !== undefined && accessToken === undefined && accountId === undefined)
      issue('postId', 'needs accountId, or platform and accessToken');
  });

type Payload = z.output<typeof payload>;
type Collected = { platform: Platform; account: OfAccount; posts: OfPost[] };

/** Reads what a platform says of an account and its posts, into metric_points. A repeat reads it once more. */
export default job({
  name: 'analytics.collect',
  payload,
  sensitive: ['accessToken'],
  timeout: minutes(15),

  async run({ payload: given, app, signal, commit }) {
    const { accountId, accessToken, platform, postId } = given;
    if (accountId === undefined && accessToken === undefined)
      return commit(async (tx) => ({ jobs: (await query(tx, sql.add_jobs, { platform: platform ?? null })).length }));
    const found =
      accountId === undefined
        ? await withToken(app, given, signal)
        : await withAccess(app, accountId, { signal, forMs: minutes(5) }, (access) =>
            withinLimits(app.db, access, () => collect(app, access.platform, access.token, postId, signal)),
          );
    return commit((tx) => store(tx, found));
  },
});

async function withToken(app: App, { platform, accessToken, postId }: Payload, signal: AbortSignal) {
  try {
    return await withinLimits(app.db, { platform: platform!, account_id: null }, () =>
      collect(app, platform!, accessToken!, postId, signal),
    );
  } catch (error) {
    if (!(error instanceof TokenRefused || error instanceof ReconnectNeeded)) throw error;
    throw new PermanentError('analytics_token_refused', error.message);
  }
}

async function collect(
  app: App,
  platform: Platform,
  token: string,
  postId: string | undefined,
  signal: AbortSignal,
): Promise<Collected> {
  const { metrics } = app.social[platform];
  const account = await metrics.account(token, { signal });
  if (account.external_id === '')
    throw new PermanentError('analytics_post_not_found', `${platform} does not say whose token it is`);
  if (postId !== undefined) {
    const post = await metrics.post(token, postId, { signal });
    if (!post?.external_id) throw new PermanentError('analytics_post_not_found', `${platform} has no post ${postId}`);
    return { platform, account, posts: [post] };
  }
  const posts: OfPost[] = [];
  const oldest = Date.now() - daysOfPosts * 86_400_000;
  for await (const page of metrics.posts(token, { signal })) {
    posts.push(...page.filter(({ external_id }) => external_id !== ''));
    // They come newest first. A post without a time says nothing of those after it.
    if (posts.length >= newestPosts || page.some(({ published_at }) => published_at && +published_at < oldest)) break;
  }
  return { platform, account, posts: posts.slice(0, newestPosts) };
}

/** All of it in one transaction: an account is read as a whole, or not at all. */
async function store(tx: Queryable, { platform, account, posts }: Collected) {
  const { external_id, name, readings } = account;
  const short = name?.slice(0, 200) ?? null;
  await query(tx, sql.make_partition);
  const [{ id }] = (await query<{ id: number }>(tx, sql.put_account, { platform, external_id, name: short })) as [
    { id: number },
  ];
  const rows = posts.map(({ external_id: post, published_at, title, url }) => ({
    external_id: post,
    published_at,
    title: title?.slice(0, 500),
    url: url?.slice(0, 2_000),
  }));
  const put = await query<{ id: number; external_id: string }>(tx, sql.put_posts, {
    account_id: id,
    posts: JSON.stringify(rows),
  });
  const ids = new Map(put.map((row) => [row.external_id, row.id]));
  const points = [pointsOf(0, readings), ...posts.map((post) => pointsOf(ids.get(post.external_id)!, post.readings))];
  const [stored] = await query<{ points: number; unknown: number }>(tx, sql.put_points, {
    account_id: id,
    points: JSON.stringify(points.flat()),
  });
  return { account: id, posts: ids.size, ...stored! };
}

const pointsOf = (post_id: number, readings: Readings) =>
  Object.entries(readings).map(([metric, value]) => ({ post_id, metric, value }));
