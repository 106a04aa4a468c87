import type { Config } from '../../../base/config/config.ts';
import type { Found, Post, Task } from '../adapter.ts';
import { bodyOf } from '../chunks.ts';
import { StartOver, unavailable } from '../errors.ts';
import { numberIn, objectIn, wordIn } from '../exchange.ts';
import { createGraph, newestLike, type Graph } from '../graph.ts';
import type { Form } from './form.ts';
import { noteOf, receiptIn, timeOf } from './feed.ts';
import { judgeStatus } from './reel.ts';
import { service } from './service.ts';

/**
 * Videos of a page. With FACEBOOK_APP_ID the bytes go through the Resumable Upload API; without, Facebook fetches the
 * file. https://developers.facebook.com/docs/video-api/guides/publishing
 */
export function videoPost(graph: Graph, config: Pick<Config, 'social'>): Form {
  const { app, videoUrl, version, url } = config.social.facebook;
  const videoGraph = createGraph(service, `${videoUrl}/${version}`, config);
  return {
    async prepare(task) {
      if (!app) return;
      const { facts } = await task.media.file();
      const fields = { file_name: 'video.mp4', file_length: facts.bytes, file_type: 'video/mp4' };
      const session = wordIn(await graph.write(task, `/${app.id}/uploads`, fields), 'id');
      if (!session) throw unavailable('Facebook answered without the id of an upload');
      await task.save({ ...task.state, bytes: facts.bytes }, `${url}/${version}/${session}`);
    },

    async upload(task) {
      if (!app || task.state['handle'] !== undefined) return;
      const { path, facts } = await task.media.file();
      if (facts.bytes !== task.state['bytes']) throw new StartOver('the file has changed since its upload began');
      const session = new URL(task.uploadUrl ?? '');
      const authorization = `OAuth ${task.access.token}`;
      const { timeoutMs, uploadTimeoutMs } = config.social;
      const there = await graph.ask(task, session, { headers: { authorization }, timeoutMs });
      const start = numberIn(there, 'file_offset') ?? 0;
      const answer = await graph.ask(task, session, {
        method: 'POST',
        headers: { authorization, file_offset: String(start) },
        body: start < facts.bytes ? bodyOf(path, { start, end: facts.bytes }) : '',
        timeoutMs: uploadTimeoutMs,
      });
      const handle = wordIn(answer, 'h');
      if (!handle) throw unavailable('Facebook answered without the handle of the file');
      await task.save({ ...task.state, handle });
      task.progress(1);
    },

    async submit(task) {
      const { post, access, state, media } = task;
      const handle = state['handle'];
      const file = handle ? { fbuploader_video_file_chunk: String(handle) } : { file_url: await media.videoUrl() };
      const fields = { title: post.title, description: textOf(post), ...file, ...timeOf(post) };
      return receiptIn(await videoGraph.publish(task, `/${access.external_id}/videos`, fields));
    },

    async status(task) {
      const id = task.external_id ?? '';
      const video = await graph.read(task, `/${id}`, { fields: 'status,permalink_url' });
      const status = objectIn(video, 'status');
      const word = wordIn(status, 'video_status') ?? 'no status';
      if (word === 'error') return { is: 'failed', error: judgeStatus(status) };
      if (word !== 'ready') return { is: 'processing', reason: `Facebook processes it: ${word}` };
      const path = wordIn(video, 'permalink_url') ?? `/${id}`;
      const address = new URL(path, 'https://www.facebook.com').href;
      return { is: 'published', external_id: id, url: address, ...noteOf(task.post) };
    },

    find: (task, since) => findVideo(task, graph, since),
  };
}

const textOf = ({ description, tags }: Post) =>
  [description, tags.map((tag) => `#${tag.replace(/^#/, '')}`).join(' ')].filter(Boolean).join('\n\n');

async function findVideo(task: Task, graph: Graph, since: Date): Promise<Found> {
  const fields = { fields: 'id,title,description,created_time', limit: 50 };
  const list = await graph.read(task, `/${task.access.external_id}/videos`, fields);
  const found = await newestLike(task, list, { text: textOf(task.post), field: 'description', since });
  if (found) return { is: 'accepted', external_id: wordIn(found, 'id') };
  return { is: 'unknown', reason: 'no answer came, and the page lists no such video' };
}
