import { isOf, PermanentError, Snooze } from '../../../base/errors.ts';
import { withTempDir } from '../../../base/temp.ts';
import type { Adapter, Post, Task } from '../../../providers/social/adapter.ts';
import { Limited, ReconnectNeeded, refused, StartOver, TokenRefused } from '../../../providers/social/errors.ts';
import type { Platform } from '../../../providers/social/social.ts';
import type { JobContext } from '../../../queue/job.ts';
import { parsePayload } from '../../../queue/payload.ts';
import { withAccess, type Access } from '../account/account.ts';
import { noteLimit, respectLimits, respectQuota, type Owner } from '../account/limits.ts';
import { Held, type PostRow } from './ledger.ts';
import { mediaOf } from './media.ts';
import { content, settings, type Content, type PublishPayload } from './payload.ts';
import { lookUps, submitOnce } from './submit.ts';

/** What a job that published a post has as its result. */
type Published = { post_id: number; platform: Platform; external_id: string; url: string | null };
type Context = JobContext<PublishPayload>;

/**
 * Takes a post that this execution holds to its end, or as far as it comes: a wait is a Snooze, and the next execution
 * goes on at the step that is written down.
 */
export async function publishPost(context: Context, row: PostRow): Promise<Published> {
  const { app, job, signal } = context;
  const held = new Held(app, row, job);
  const owner = { platform: row.platform!, account_id: row.account_id };
  try {
    const given = contentOf(row);
    await respectLimits(app.db, owner);
    return await withTempDir(app.config.tempDir, (dir) => {
      const media = mediaOf(app, given.content, dir, signal);
      return withToken(context, row, (access) =>
        advance(context, held, taskOf(context, held, { post: given.post, access, media })),
      );
    });
  } catch (error) {
    throw await waitOf(error, context, held, owner);
  }
}

/** Each step is written down before the next begins. */
async function advance(context: Context, held: Held, task: Task): Promise<Published> {
  const { app, commit } = context;
  const { row } = held;
  const { adapter } = app.social[row.platform!];
  const { pollMs, giveUpMs } = app.config.social;
  if (row.step === 'prepare') {
    await check(context, held, adapter, task);
    await adapter.prepare(task);
    await held.save('upload', row.state, row.upload_url);
  }
  if (row.step === 'upload') {
    await adapter.upload(task);
    await held.save('submit', row.state, row.upload_url);
  }
  if (row.step === 'submit') await submitOnce(held, adapter, task, pollMs);

  const attempt = await held.attempt();
  const fate = await adapter.status(task, attempt?.age_ms ?? 0);
  switch (fate.is) {
    case 'failed':
      await held.failed(attempt?.id, fate.error);
      throw fate.error;
    case 'processing':
      if (attempt && attempt.age_ms > giveUpMs) throw await held.unconfirmed(attempt.id, fate.reason);
      throw new Snooze(pollMs, fate.reason);
    case 'published':
      return commit(async (tx) => {
        const { external_id, url = row.url ?? undefined, note } = fate;
        await held.publishedIn(tx, { external_id, url }, note);
        return { post_id: row.id, platform: row.platform!, external_id, url: url ?? null };
      });
  }
}

/** Before anything is sent. @throws PermanentError `social_content_refused`, which names each fault */
async function check({ app }: Context, { row }: Held, adapter: Adapter, { post, media }: Task): Promise<void> {
  const facts = post.form === 'video' ? (await media.file()).facts : undefined;
  const faults = adapter.faultsOf(post, facts);
  if (faults.length > 0) throw refused('social_content_refused', faults.join('; '));
  const { quota } = adapter;
  const owner = { platform: row.platform!, account_id: row.account_id };
  if (quota && (quota.type === undefined || quota.type === post.settings.type))
    await respectQuota(app.db, owner, row.id, quota);
}

function taskOf(context: Context, held: Held, given: Pick<Task, 'post' | 'media'> & { access: Access }): Task {
  const { row } = held;
  const owner = given.access.account_id ?? `of job ${context.job.id}`;
  return {
    ...given,
    signal: context.signal,
    get state() {
      return row.state;
    },
    get external_id() {
      return row.external_id;
    },
    get uploadUrl() {
      return row.upload_url;
    },
    save: (state, uploadUrl = row.upload_url) => held.save(row.step, state, uploadUrl),
    turn: (operation, perMinute) => context.rateLimit(`${row.platform} ${operation} ${owner}`, perMinute / 60),
    strangers: (ids) => held.strangers(ids),
    async warn(limit) {
      await noteLimit(context.app.db, { platform: row.platform!, account_id: row.account_id }, limit);
    },
    progress: (share) => context.progress(share * 95),
  };
}

/** With the token of the account, which is renewed if need be; or with that of the payload, which cannot be. */
async function withToken<T>(context: Context, row: PostRow, work: (access: Access) => Promise<T>): Promise<T> {
  const { app, payload, signal } = context;
  if (row.account_id !== null) return withAccess(app, row.account_id, { signal, forMs: uploadMs }, work);
  const { credentials } = payload;
  if (!credentials)
    throw new PermanentError('social_account_not_found', `Post ${row.id} has no account, and its job no credentials`);
  const { accessToken: token, accountId: external_id = 'me' } = credentials;
  try {
    return await work({ account_id: null, platform: row.platform!, external_id, name: null, token });
  } catch (error) {
    if (!(error instanceof TokenRefused) && !(error instanceof ReconnectNeeded)) throw error;
    throw new PermanentError('social_reconnect', `The token of the payload is not accepted: ${error.message}`);
  }
}

/** For how long a token must be good when an execution begins. */
const uploadMs = 600_000;
const mostRestarts = 5;

/** What a step that did not end means for the job. What it waits for is written to the row. */
async function waitOf(error: unknown, { app }: Context, held: Held, owner: Owner): Promise<unknown> {
  const wait =
    error instanceof StartOver
      ? await startOver(error, held, app.config.social)
      : error instanceof Limited
        ? await noteLimit(app.db, owner, error)
        : error;
  if (isOf(wait, Snooze)) await held.note(wait.reason);
  return wait;
}

/**
 * What was prepared is gone, and is prepared anew, a few times. Not after a submit that may have been taken: of what is
 * prepared anew, the platform would say that it is not published, and it would be published a second time.
 */
async function startOver(
  { message }: StartOver,
  held: Held,
  { pollMs, giveUpMs }: { pollMs: number; giveUpMs: number },
): Promise<Error> {
  const attempt = await held.attempt();
  if (attempt) {
    const patienceMs = attempt.status === 'accepted' ? giveUpMs : lookUps * pollMs;
    if (attempt.age_ms > patienceMs) return held.unconfirmed(attempt.id, message);
    return new Snooze(pollMs, message, { bounded: false });
  }
  const restarts = Number(held.row.state['restarts'] ?? 0) + 1;
  if (restarts > mostRestarts)
    return new PermanentError('social_started_over', `${message}: it was begun ${restarts} times`);
  await held.save('prepare', { restarts }, null);
  return new Snooze(pollMs, message);
}

const contentSchema = { name: 'social.publish', payload: content };
const settingsSchema = { name: 'social.publish', payload: settings };

/** @throws PermanentError `invalid_payload`, which names the fields at fault */
function contentOf(row: PostRow): { content: Content; post: Post } {
  const given = parsePayload(contentSchema, row.content) as Content;
  const chosen = parsePayload(settingsSchema, row.settings) as Post['settings'];
  const { title, description, tags, link, videoPath, imagePaths = [], thumbnailPath } = given;
  const form = videoPath !== undefined ? 'video' : imagePaths.length > 0 ? 'photos' : 'text';
  const hasThumbnail = thumbnailPath !== undefined;
  const images = imagePaths.length;
  return { content: given, post: { title, description, tags, link, form, images, hasThumbnail, settings: chosen } };
}
