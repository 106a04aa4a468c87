import type { Config } from '../../../base/config/config.ts';
import type { Post, Task } from '../adapter.ts';
import { bodyOf } from '../chunks.ts';
import { refused, StartOver, unavailable } from '../errors.ts';
import { numberIn, objectIn, wordIn, type Json } from '../exchange.ts';
import type { Graph } from '../graph.ts';
import { captionOf } from '../words.ts';
import type { Form } from './form.ts';
import { noteOf } from './feed.ts';

/**
 * Reels, in three phases: start names the video, the bytes go to its address, finish is the submit.
 * https://developers.facebook.com/docs/video-api/guides/reels-publishing
 */
export const reelPost = (graph: Graph, { social }: Pick<Config, 'social'>): Form => ({
  async prepare(task) {
    const { facts } = await task.media.file();
    const path = `/${task.access.external_id}/video_reels`;
    const begun = await graph.write(task, path, { upload_phase: 'start' });
    const video_id = wordIn(begun, 'video_id');
    const upload_url = wordIn(begun, 'upload_url');
    if (!video_id || !upload_url) throw unavailable('Facebook answered without a video_id or an upload_url');
    await task.save({ ...task.state, video_id, bytes: facts.bytes }, upload_url);
  },

  async upload(task) {
    const { path, facts } = await task.media.file();
    if (facts.bytes !== task.state['bytes']) throw new StartOver('the file has changed since its upload began');
    const there = numberIn(objectIn(await statusIn(task, graph), 'uploading_phase'), 'bytes_transferred') ?? 0;
    if (there >= facts.bytes) return;
    await graph.ask(task, new URL(task.uploadUrl ?? ''), {
      method: 'POST',
      headers: {
        authorization: `OAuth ${task.access.token}`,
        offset: String(there),
        file_size: String(facts.bytes),
      },
      body: bodyOf(path, { start: there, end: facts.bytes }),
      timeoutMs: social.uploadTimeoutMs,
    });
    task.progress(1);
  },

  async submit(task) {
    const { post, access, state } = task;
    const video_id = String(state['video_id']);
    const fields = { upload_phase: 'finish', video_id, description: captionOf(post), ...stateOf(post) };
    await graph.publish(task, `/${access.external_id}/video_reels`, fields);
    return { external_id: video_id };
  },

  async status(task) {
    const id = String(task.state['video_id']);
    const status = await statusIn(task, graph);
    if (wordIn(status, 'video_status') === 'error') return { is: 'failed', error: judgeStatus(status) };
    const publishing = objectIn(status, 'publishing_phase');
    const isDone = wordIn(publishing, 'status') === 'complete' || wordIn(publishing, 'publish_status') === 'scheduled';
    if (!isDone) return { is: 'processing', reason: `Facebook processes it: ${wordIn(status, 'video_status')}` };
    return { is: 'published', external_id: id, url: `https://www.facebook.com/reel/${id}`, ...noteOf(task.post) };
  },

  async find(task) {
    const phase = wordIn(objectIn(await statusIn(task, graph), 'publishing_phase'), 'status') ?? 'not_started';
    if (phase !== 'not_started') return { is: 'accepted', external_id: String(task.state['video_id']) };
    return { is: 'unknown', reason: 'no answer came, and Facebook does not say that it publishes the reel' };
  },
});

const stateOf = ({ settings: { publishAt } }: Post) =>
  publishAt
    ? { video_state: 'SCHEDULED', scheduled_publish_time: Math.floor(Date.parse(publishAt) / 1_000) }
    : { video_state: 'PUBLISHED' };

async function statusIn(task: Task, graph: Graph): Promise<Json> {
  return objectIn(await graph.read(task, `/${String(task.state['video_id'])}`, { fields: 'status' }), 'status');
}

export function judgeStatus(status: Json): Error {
  const phases = ['uploading_phase', 'processing_phase', 'publishing_phase'].map((name) => objectIn(status, name));
  const why = phases.map((phase) => wordIn(objectIn(phase, 'error'), 'message')).find((each) => each !== undefined);
  return refused('social_processing_failed', `Facebook could not process the video: ${why ?? 'it gives no reason'}`);
}
