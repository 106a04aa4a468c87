import type { Config } from '../../../base/config/config.ts';
import type { Answer } from '../../../base/http/request.ts';
import type { Adapter, Fate, Found, Post, Task } from '../adapter.ts';
import { bodyOf, rangeOf } from '../chunks.ts';
import { refused, StartOver, TokenRefused, unavailable } from '../errors.ts';
import { exchange, jsonIn, jsonType, numberIn, objectIn, wordIn, type Json } from '../exchange.ts';
import { captionOf, megabytes, outside, privacyIn, tooLong } from '../words.ts';
import { chunkOf, planOf } from './chunks.ts';
import { judgeFailure, judgeTikTok } from './errors.ts';
import { service } from './service.ts';

type Settings = Pick<Config, 'social'>;

const privacies = {
  PUBLIC: 'PUBLIC_TO_EVERYONE',
  PRIVATE: 'SELF_ONLY',
  FRIENDS: 'MUTUAL_FOLLOW_FRIENDS',
  FOLLOWERS: 'FOLLOWER_OF_CREATOR',
};

/** For how long TikTok is asked for the id of a public post, which it gives after moderation. */
const namingMs = 900_000;

/**
 * The Content Posting API: https://developers.tiktok.com/doc/content-posting-api-reference-direct-post
 *
 * A video is uploaded. `init` names the post (publish_id), and nothing is public before the last chunk is there: that
 * chunk is the submit. Sent twice, it goes to the same publish_id. Pictures are fetched by TikTok, and `init` is the
 * submit: if its answer is lost, so is the publish_id.
 */
export function createTikTok(config: Settings): Adapter {
  return {
    faultsOf,
    prepare: (task) => prepare(task, config),
    upload: (task) => upload(task, config),
    async submit(task) {
      if (task.post.form === 'photos') return { external_id: await initPhotos(task, config) };
      if (task.state['refused'] !== undefined) throw new StartOver('TikTok refused the last chunk');
      await sendChunk(task, config, Number(task.state['chunks']) - 1, true);
      return {};
    },
    status: (task, ageMs) => statusOf(task, config, ageMs),
    find: (task, since) => find(task, config, since),
  };
}

function faultsOf(post: Post, file: Parameters<Adapter['faultsOf']>[1]): string[] {
  const { settings, images } = post;
  if (post.form === 'text') return ['TikTok publishes videos and pictures: content.videoPath is missing'];
  const isDraft = settings.mode === 'inbox' && post.form === 'video';
  const faults = isDraft || settings.privacy ? [] : ['settings.privacy is missing: TikTok wants it to be chosen'];
  if (post.form === 'photos')
    return [...faults, ...tooLong('title', post.title, 90), ...tooLong('description', post.description, 4_000)].concat(
      images > 35 ? ['there are more than 35 pictures'] : [],
    );
  const { bytes, duration, codec, width, height, fps } = file!;
  return [
    ...faults,
    ...tooLong('the caption', captionOf(post), 2_200),
    ...outside('size', megabytes(bytes), { most: 4_000 }, 'MB'),
    ...outside('length', duration, { least: 1, most: 600 }, 's'),
    ...outside('frame rate', fps, { least: 23, most: 60 }, 'frames a second'),
    ...outside('width', width, { least: 360, most: 4_096 }, 'pixels'),
    ...outside('height', height, { least: 360, most: 4_096 }, 'pixels'),
    ...(['h264', 'hevc', 'vp8', 'vp9'].includes(codec) ? [] : [`the codec ${codec} is none of H.264, H.265, VP8, VP9`]),
  ];
}

/** Asks what the creator may do, as TikTok demands before each post, and names the upload. */
async function prepare(task: Task, config: Settings): Promise<void> {
  const { post, state } = task;
  const isDraft = post.settings.mode === 'inbox' && post.form === 'video';
  const creator = isDraft ? {} : await askCreator(task, config);
  const username = wordIn(creator, 'creator_username') ?? '';
  if (post.form === 'photos') return task.save({ ...state, username });
  const { facts } = await task.media.file();
  const longest = numberIn(creator, 'max_video_post_duration_sec');
  const [fault] = outside('length', facts.duration, longest === undefined ? {} : { most: longest }, 's');
  if (fault) throw refused('social_content_refused', `${fault} for this creator`);

  const plan = planOf(facts.bytes);
  const source_info = { source: 'FILE_UPLOAD', ...plan };
  const path = isDraft ? 'inbox/video/init/' : 'video/init/';
  const body = isDraft ? { source_info } : { post_info: infoOf(post, creator), source_info };
  await task.turn('init', 6);
  const data = await ask(task, config, path, body);
  const publish_id = wordIn(data, 'publish_id');
  const upload_url = wordIn(data, 'upload_url');
  if (!publish_id || !upload_url) throw unavailable('TikTok answered without a publish_id or an upload_url');
  const { chunk_size, total_chunk_count: chunks, video_size } = plan;
  await task.save({ ...state, username, publish_id, chunk_size, chunks, video_size, sent: 0 }, upload_url);
}

async function askCreator(task: Task, config: Settings): Promise<Json> {
  await task.turn('creator', 20);
  const creator = await ask(task, config, 'creator_info/query/', {});
  const wanted = privacyIn(privacies, task.post.settings.privacy ?? '');
  const offered = creator['privacy_level_options'];
  if (Array.isArray(offered) && !offered.includes(wanted))
    throw refused('social_privacy_refused', `The creator does not offer ${wanted}, but ${offered.join(', ')}`);
  return creator;
}

function infoOf(post: Post, creator: Json): Json {
  const { settings } = post;
  return {
    title: captionOf(post),
    privacy_level: privacyIn(privacies, settings.privacy ?? ''),
    disable_comment: settings.allowComments === false || creator['comment_disabled'] === true,
    disable_duet: settings.allowDuet === false || creator['duet_disabled'] === true,
    disable_stitch: settings.allowStitch === false || creator['stitch_disabled'] === true,
    ...(settings.coverMs === undefined ? {} : { video_cover_timestamp_ms: settings.coverMs }),
    is_aigc: settings.aiGenerated === true,
    brand_content_toggle: settings.brandContent === true,
    brand_organic_toggle: settings.brandOrganic === true,
  };
}

/** All chunks but the last. */
async function upload(task: Task, config: Settings): Promise<void> {
  if (task.post.form === 'photos') return;
  const chunks = Number(task.state['chunks']);
  for (let n = Number(task.state['sent']); n < chunks - 1; n++) {
    await sendChunk(task, config, n, false);
    await task.save({ ...task.state, sent: n + 1 });
    task.progress((n + 1) / chunks);
  }
}

async function sendChunk(task: Task, { social }: Settings, n: number, publishes: boolean): Promise<void> {
  const { state, uploadUrl, signal, media } = task;
  const { path, facts } = await media.file();
  if (!uploadUrl || facts.bytes !== state['video_size']) throw new StartOver('the file has changed since it was begun');
  const plan = {
    video_size: facts.bytes,
    chunk_size: Number(state['chunk_size']),
    total_chunk_count: Number(state['chunks']),
  };
  const chunk = chunkOf(plan, n);
  const answer = await exchange(new URL(uploadUrl), {
    service,
    method: 'PUT',
    headers: { 'content-type': 'video/mp4', 'content-range': rangeOf(chunk, facts.bytes) },
    body: bodyOf(path, chunk),
    publishes,
    timeoutMs: social.uploadTimeoutMs,
    signal,
  });
  if (answer.status === 201 || answer.status === 206) return;
  if (!publishes) throw judgeUpload(answer);
  // An earlier try may have brought it there: only the status says whether it did.
  if (answer.status < 500 && answer.status !== 429) await task.save({ ...state, refused: answer.status });
  throw new Error(`TikTok answered ${answer.status} to the last chunk`);
}

/** The address is good for an hour. Nothing is public before the last chunk, so the upload begins anew. */
function judgeUpload(answer: Answer): Error {
  const words = `TikTok answered ${answer.status} to a chunk`;
  if (answer.status >= 500 || answer.status === 429 || answer.status === 408) return unavailable(words);
  return new StartOver(words);
}

async function initPhotos(task: Task, config: Settings): Promise<string> {
  const { post } = task;
  const { title, description, settings } = post;
  const photo_images = await Promise.all(Array.from({ length: post.images }, (_, n) => task.media.imageUrl(n)));
  await task.turn('init', 6);
  const data = await ask(
    task,
    config,
    'content/init/',
    {
      post_info: {
        title: title ?? '',
        description: captionOf({ ...post, title: undefined, description }),
        privacy_level: privacyIn(privacies, settings.privacy ?? ''),
        disable_comment: settings.allowComments === false,
        auto_add_music: true,
      },
      source_info: { source: 'PULL_FROM_URL', photo_cover_index: 0, photo_images },
      post_mode: settings.mode === 'inbox' ? 'MEDIA_UPLOAD' : 'DIRECT_POST',
      media_type: 'PHOTO',
    },
    true,
  );
  const id = wordIn(data, 'publish_id');
  if (!id) throw new Error('TikTok answered without a publish_id');
  return id;
}

const publishIdOf = ({ state, external_id }: Task) => String(state['publish_id'] ?? external_id ?? '');

async function askStatus(task: Task, config: Settings): Promise<Json> {
  await task.turn('status', 30);
  return ask(task, config, 'status/fetch/', { publish_id: publishIdOf(task) });
}

async function statusOf(task: Task, config: Settings, ageMs: number): Promise<Fate> {
  const data = await askStatus(task, config);
  const status = wordIn(data, 'status') ?? 'no status';
  const publish_id = publishIdOf(task);
  switch (status) {
    case 'PUBLISH_COMPLETE': {
      // The name is spelt so: publicaly.
      const [id] = (data['publicaly_available_post_id'] as (string | number)[] | undefined) ?? [];
      const isPublic = privacyIn(privacies, task.post.settings.privacy ?? '') !== 'SELF_ONLY';
      if (id !== undefined) return { is: 'published', external_id: String(id), url: urlOf(task, String(id)) };
      if (isPublic && ageMs < namingMs) return { is: 'processing', reason: 'TikTok names it after moderation' };
      return { is: 'published', external_id: publish_id };
    }
    case 'SEND_TO_USER_INBOX':
      return { is: 'published', external_id: publish_id, note: 'the owner finishes it in the app of TikTok' };
    case 'FAILED':
      return { is: 'failed', error: judgeFailure(wordIn(data, 'fail_reason') ?? '') };
    default:
      return { is: 'processing', reason: `TikTok processes it: ${status}` };
  }
}

const urlOf = ({ post, state }: Task, id: string) =>
  `https://www.tiktok.com/@${String(state['username'] ?? '')}/${post.form === 'photos' ? 'photo' : 'video'}/${id}`;

/**
 * PROCESSING_UPLOAD: bytes are missing, so the last chunk may be sent again, to the same publish_id. If TikTok refused
 * that chunk, the upload begins anew; not at once, because the status may be a little behind.
 */
async function find(task: Task, config: Settings, since: Date): Promise<Found> {
  if (!publishIdOf(task)) return { is: 'unknown', reason: 'TikTok did not say how it names the post' };
  const status = wordIn(await askStatus(task, config), 'status');
  if (status !== 'PROCESSING_UPLOAD') return { is: 'accepted' };
  const isFresh = Date.now() - since.getTime() < 2 * config.social.pollMs;
  if (task.state['refused'] === undefined || !isFresh) return { is: 'absent' };
  return { is: 'unknown', reason: 'TikTok refused the last chunk, and says that bytes are missing' };
}

/** @returns `data` of the answer */
async function ask(task: Task, { social }: Settings, path: string, body: Json, publishes = false): Promise<Json> {
  const answer = await exchange(new URL(`${social.tiktok.url}/v2/post/publish/${path}`), {
    service,
    method: 'POST',
    headers: { ...jsonType, authorization: `Bearer ${task.access.token}` },
    body: JSON.stringify(body),
    publishes,
    timeoutMs: social.timeoutMs,
    signal: task.signal,
  });
  const json = jsonIn(answer);
  if (answer.status === 200 && wordIn(objectIn(json, 'error'), 'code') === 'ok') return objectIn(json, 'data');
  const error = judgeTikTok(answer);
  // What a server in trouble answers to a request that publishes says nothing.
  if (publishes && answer.status >= 500 && !(error instanceof TokenRefused)) throw new Error(error.message);
  throw error;
}
