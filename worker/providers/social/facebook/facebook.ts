import type { Config } from '../../../base/config/config.ts';
import type { Adapter, Post } from '../adapter.ts';
import { createGraph } from '../graph.ts';
import { megabytes, outside, tooLong } from '../words.ts';
import { feedPost, photoPost } from './feed.ts';
import type { Form } from './form.ts';
import { reelPost } from './reel.ts';
import { service } from './service.ts';
import { videoPost } from './video.ts';

/** Pages: https://developers.facebook.com/docs/pages-api/posts. What it publishes decides which requests are made. */
export function createFacebook(config: Pick<Config, 'social'>): Adapter {
  const { url, version } = config.social.facebook;
  const graph = createGraph(service, `${url}/${version}`, config);
  const forms = {
    reel: reelPost(graph, config),
    video: videoPost(graph, config),
    photos: photoPost(graph),
    text: feedPost(graph),
  };
  const formOf = ({ form, settings }: Post): Form =>
    form === 'video' ? forms[settings.type === 'reel' ? 'reel' : 'video'] : forms[form];
  return {
    // https://developers.facebook.com/docs/video-api/guides/reels-publishing
    quota: { of: 'account', max: 30, type: 'reel' },
    faultsOf,
    prepare: (task) => formOf(task.post).prepare(task),
    upload: (task) => formOf(task.post).upload(task),
    submit: (task) => formOf(task.post).submit(task),
    status: (task, ageMs) => formOf(task.post).status(task, ageMs),
    find: (task, since) => formOf(task.post).find(task, since),
  };
}

function faultsOf(post: Post, file: Parameters<Adapter['faultsOf']>[1]): string[] {
  const { form, settings, title, description } = post;
  const faults = tooLong('the text', `${title ?? ''}${description ?? ''}`, 63_206);
  if (settings.type === 'story') faults.push('stories are not published: nobody could say whether one was');
  if (form === 'text' && !description && !title && !post.link)
    faults.push('the post has neither text nor link nor file');
  if (form !== 'video') return faults;
  const { bytes, duration, width, height, fps } = file!;
  if (settings.type !== 'reel')
    return [
      ...faults,
      ...outside('size', megabytes(bytes), { most: 10_000 }, 'MB'),
      ...outside('length', duration, { most: 14_400 }, 's'),
    ];
  return [
    ...faults,
    ...outside('length', duration, { least: 3, most: 90 }, 's'),
    ...outside('width', width, { least: 540 }, 'pixels'),
    ...outside('height', height, { least: 960 }, 'pixels'),
    ...outside('frame rate', fps, { least: 23, most: 60 }, 'frames a second'),
    ...(Math.abs(width / height - 9 / 16) > 0.02 ? [`a reel is 9:16, and the video is ${width}:${height}`] : []),
  ];
}
