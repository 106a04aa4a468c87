import type { Found, Post, Receipt, Task } from '../adapter.ts';
import { refused, unavailable } from '../errors.ts';
import { wordIn } from '../exchange.ts';
import { newestLike, type Graph } from '../graph.ts';
import { captionOf } from '../words.ts';
import type { Form } from './form.ts';

/** When it becomes public. Facebook takes 10 minutes to some months from now. */
export const timeOf = ({ settings: { publishAt } }: Post) =>
  publishAt ? { published: false, scheduled_publish_time: Math.floor(Date.parse(publishAt) / 1_000) } : {};

/** What Facebook named the post. @throws an unforeseen error: it was published, and nobody knows as what */
export function receiptIn(answer: Record<string, unknown>): Receipt {
  const id = wordIn(answer, 'post_id') ?? wordIn(answer, 'id');
  if (!id) throw new Error('Facebook answered without an id');
  return { external_id: id };
}

export const noteOf = ({ settings: { publishAt } }: Post) =>
  publishAt ? { note: `Facebook makes it public at ${publishAt}` } : {};

/** Among the newest posts of the page, also those that are to become public later. */
async function findPost(task: Task, graph: Graph, since: Date): Promise<Found> {
  const edge = task.post.settings.publishAt ? 'scheduled_posts' : 'feed';
  const fields = { fields: 'id,message,created_time,permalink_url', limit: 50 };
  const list = await graph.read(task, `/${task.access.external_id}/${edge}`, fields);
  const found = await newestLike(task, list, { text: captionOf(task.post), field: 'message', since });
  if (found) return { is: 'accepted', external_id: wordIn(found, 'id'), url: wordIn(found, 'permalink_url') };
  return { is: 'unknown', reason: 'no answer came, and the page has no such post' };
}

/** Text, and a link. */
export const feedPost = (graph: Graph): Form => ({
  prepare: async () => {},
  upload: async () => {},
  async submit(task) {
    const { post, access } = task;
    const attached = ((task.state['photos'] as string[] | undefined) ?? []).map((id, n) => [
      `attached_media[${n}]`,
      JSON.stringify({ media_fbid: id }),
    ]);
    const fields = { message: captionOf(post), link: post.link, ...timeOf(post), ...Object.fromEntries(attached) };
    return receiptIn(await graph.publish(task, `/${access.external_id}/feed`, fields));
  },
  async status(task) {
    const id = task.external_id;
    if (!id) return { is: 'failed', error: refused('social_processing_failed', 'Facebook gave the post no name') };
    const post = await graph.read(task, `/${id}`, { fields: 'id,permalink_url' });
    return { is: 'published', external_id: id, url: wordIn(post, 'permalink_url'), ...noteOf(task.post) };
  },
  find: (task, since) => findPost(task, graph, since),
});

/** Pictures: each is uploaded unpublished first, and the post has them attached. */
export const photoPost = (graph: Graph): Form => ({
  ...feedPost(graph),
  async upload(task) {
    const photos = [...((task.state['photos'] as string[] | undefined) ?? [])];
    for (let n = photos.length; n < task.post.images; n++) {
      const fields = { url: await task.media.imageUrl(n), published: false, ...temporary(task.post) };
      const id = wordIn(await graph.write(task, `/${task.access.external_id}/photos`, fields), 'id');
      if (!id) throw unavailable('Facebook answered without the id of a picture');
      photos.push(id);
      await task.save({ ...task.state, photos });
    }
  },
});

/** Pictures of a post that becomes public later. */
const temporary = ({ settings }: Post) => (settings.publishAt ? { temporary: true } : {});
