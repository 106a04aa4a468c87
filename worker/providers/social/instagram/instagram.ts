import type { Config } from '../../../base/config/config.ts';
import { Snooze } from '../../../base/errors.ts';
import type { Adapter, Fate, Found, Post, Receipt, State, Task } from '../adapter.ts';
import { Limited, refused, StartOver, unavailable } from '../errors.ts';
import { listIn, numberIn, objectIn, wordIn, type Json } from '../exchange.ts';
import { createGraph, newestLike, type Graph } from '../graph.ts';
import { captionOf, megabytes, outside, tooLong } from '../words.ts';
import { service } from './service.ts';

const hour = 3_600_000;

/**
 * Content publishing: https://developers.facebook.com/docs/instagram-platform/content-publishing
 *
 * Instagram fetches the files itself, into containers that nobody sees. `media_publish` is the submit. If its answer is
 * lost, the container says PUBLISHED or nothing; a container that is still FINISHED is not published again.
 */
export function createInstagram(config: Pick<Config, 'social'>): Adapter {
  const { url, version } = config.social.instagram;
  const graph = createGraph(service, `${url}/${version}`, config);
  const pollMs = 2 * config.social.pollMs;
  return {
    faultsOf,
    prepare: (task) => prepare(task, graph),
    upload: (task) => waitForContainer(task, graph, pollMs),
    async submit(task) {
      const creation_id = String(task.state['container']);
      const id = wordIn(await graph.publish(task, `/${task.access.external_id}/media_publish`, { creation_id }), 'id');
      if (!id) throw new Error('Instagram answered without an id');
      return { external_id: id };
    },
    status: (task, ageMs) => statusOf(task, graph, ageMs),
    find: (task, since) => find(task, graph, since),
  };
}

function faultsOf(post: Post, file: Parameters<Adapter['faultsOf']>[1]): string[] {
  if (post.form === 'text') return ['Instagram publishes videos and pictures: content.videoPath is missing'];
  const caption = captionOf(post);
  const faults = [
    ...tooLong('the caption', caption, 2_200),
    ...((caption.match(/#\w/g)?.length ?? 0) > 30 ? ['the caption has more than 30 hashtags'] : []),
    ...(post.images > 10 ? ['a carousel has at most 10 pictures'] : []),
  ];
  if (post.form === 'photos') return faults;
  const { bytes, duration, codec, width, fps, format } = file!;
  return [
    ...faults,
    ...outside('size', megabytes(bytes), { most: 300 }, 'MB'),
    ...outside('length', duration, { least: 3, most: post.settings.type === 'story' ? 60 : 900 }, 's'),
    ...outside('width', width, { most: 1_920 }, 'pixels'),
    ...outside('frame rate', fps, { least: 23, most: 60 }, 'frames a second'),
    ...(['h264', 'hevc'].includes(codec) ? [] : [`the codec ${codec} is neither H.264 nor H.265`]),
    ...(/\b(mov|mp4)\b/.test(format) ? [] : [`the format ${format} is neither MP4 nor MOV`]),
  ];
}

/** Makes the container, or all of a carousel. Each is written down before the next. */
async function prepare(task: Task, graph: Graph): Promise<void> {
  await respectPublishingLimit(task, graph);
  const { post, state } = task;
  if (post.images < 2) {
    const container = await makeContainer(task, graph, await fieldsOf(task));
    return task.save({ ...state, container });
  }
  const children = [...((state['children'] as string[] | undefined) ?? [])];
  for (let n = children.length; n < post.images; n++) {
    const image_url = await task.media.imageUrl(n);
    children.push(await makeContainer(task, graph, { image_url, is_carousel_item: true }));
    await task.save({ ...task.state, children });
  }
  const carousel = { media_type: 'CAROUSEL', children: children.join(','), caption: captionOf(post) };
  const container = await makeContainer(task, graph, carousel);
  await task.save({ ...task.state, container });
}

async function fieldsOf({ post, media }: Task) {
  const { settings, form, hasThumbnail } = post;
  const isStory = settings.type === 'story';
  const file = form === 'photos' ? { image_url: await media.imageUrl(0) } : { video_url: await media.videoUrl() };
  if (isStory) return { media_type: 'STORIES', ...file };
  if (form === 'photos') return { ...file, caption: captionOf(post) };
  return {
    media_type: 'REELS',
    ...file,
    caption: captionOf(post),
    share_to_feed: settings.shareToFeed !== false,
    ...(hasThumbnail ? { cover_url: await media.thumbnailUrl() } : { thumb_offset: settings.coverMs }),
  };
}

async function makeContainer(task: Task, graph: Graph, fields: Parameters<Graph['write']>[2]): Promise<string> {
  const id = wordIn(await graph.write(task, `/${task.access.external_id}/media`, fields), 'id');
  if (!id) throw unavailable('Instagram answered without the id of a container');
  return id;
}

/** The limit is what Instagram says it is: its documents name several. */
async function respectPublishingLimit(task: Task, graph: Graph): Promise<void> {
  const path = `/${task.access.external_id}/content_publishing_limit`;
  const [limit] = listIn(await graph.read(task, path, { fields: 'quota_usage,config' }), 'data');
  const total = numberIn(objectIn(limit ?? {}, 'config'), 'quota_total');
  const used = numberIn(limit ?? {}, 'quota_usage');
  if (total !== undefined && used !== undefined && used >= total)
    throw new Limited('account', hour, `Instagram takes ${total} posts within 24 hours, and has ${used}`);
}

const readContainer = (task: Task, graph: Graph) =>
  graph.read(task, `/${String(task.state['container'])}`, { fields: 'status_code,status' });

/** Until Instagram has fetched and processed the file. */
async function waitForContainer(task: Task, graph: Graph, pollMs: number): Promise<void> {
  const container = await readContainer(task, graph);
  const status = wordIn(container, 'status_code');
  if (status === 'FINISHED') return;
  if (status === 'ERROR') throw judgeContainer(container);
  if (status === 'EXPIRED') throw new StartOver('the container has expired');
  if (status === 'PUBLISHED') throw refused('social_refused', 'the container was published by somebody else');
  throw new Snooze(pollMs, `Instagram fetches the file: ${status ?? 'no status'}`);
}

/** `status`: `Error: Media upload has failed with error code 2207026`. */
function judgeContainer(container: Json): Error {
  const status = wordIn(container, 'status') ?? 'it gives no reason';
  const code = Number(/\b(2207\d{3})\b/.exec(status)?.[1]);
  const words = `Instagram could not process the file: ${status.slice(0, 200)}`;
  if ([2_207_001, 2_207_003, 2_207_008, 2_207_020, 2_207_032, 2_207_053].includes(code)) return new StartOver(words);
  return refused('social_processing_failed', words);
}

async function find(task: Task, graph: Graph, since: Date): Promise<Found> {
  const status = wordIn(await readContainer(task, graph), 'status_code');
  // It was not published within 24 hours, and cannot be any more.
  if (status === 'EXPIRED') return { is: 'absent' };
  if (status === 'PUBLISHED') return { is: 'accepted', ...(await findMedia(task, graph, since)) };
  return { is: 'unknown', reason: `Instagram has the container, and does not say that it was published (${status})` };
}

/** Among the newest posts of the account. */
async function findMedia(task: Task, graph: Graph, since: Date): Promise<Receipt> {
  const fields = { fields: 'id,caption,permalink,timestamp', limit: 50 };
  const list = await graph.read(task, `/${task.access.external_id}/media`, fields);
  const found = await newestLike(task, list, { text: captionOf(task.post), field: 'caption', since });
  return found ? { external_id: wordIn(found, 'id'), url: wordIn(found, 'permalink') } : {};
}

/** For how long the post is searched for that a container became. */
const searchMs = 600_000;

async function statusOf(task: Task, graph: Graph, ageMs: number): Promise<Fate> {
  const since = new Date(Date.now() - ageMs);
  const found = task.external_id ? { external_id: task.external_id } : await findMedia(task, graph, since);
  if (found.external_id === undefined) {
    if (ageMs < searchMs) return { is: 'processing', reason: 'Instagram does not list the post yet' };
    return { is: 'published', external_id: `container ${containerOf(task.state)}` };
  }
  const media = await graph.read(task, `/${found.external_id}`, { fields: 'id,permalink' });
  return { is: 'published', external_id: found.external_id, url: wordIn(media, 'permalink') };
}

const containerOf = (state: State) => String(state['container']);
