import type { Config } from '../../../base/config/config.ts';
import type { Answer } from '../../../base/http/request.ts';
import type { Adapter, Fate, Found, Post, Receipt, Task } from '../adapter.ts';
import { bodyOf, rangeOf } from '../chunks.ts';
import { Limited, refused, StartOver, unavailable } from '../errors.ts';
import { exchange, isOk, jsonIn, jsonType, listIn, objectIn, wordIn, type Asked, type Json } from '../exchange.ts';
import { outside, privacyIn, tooLong } from '../words.ts';
import { judgeYouTube } from './errors.ts';
import { service } from './service.ts';

type Settings = Pick<Config, 'social'>;

/** Chunks are multiples of 256 KiB; the last one takes what is left. */
const chunkBytes = 32 * 262_144;
const privacies = { PUBLIC: 'public', PRIVATE: 'private', UNLISTED: 'unlisted' };

/**
 * The Data API, with resumable uploads: https://developers.google.com/youtube/v3/guides/using_resumable_upload_protocol
 *
 * The video exists when the last byte is there, so the last chunk is the submit. The address of the upload says how far
 * it is, and which video it became: it is asked before anything is sent again.
 */
export function createYouTube(config: Settings): Adapter {
  const { dailyUploads } = config.social.youtube;
  return {
    quota: { of: 'app', max: dailyUploads, zone: 'America/Los_Angeles' },
    faultsOf,
    prepare: (task) => prepare(task, config),
    upload: (task) => upload(task, config),
    async submit(task) {
      const answer = await send(task, config, Number(task.state['sent'] ?? 0), true);
      if (answer.status === 200 || answer.status === 201) return receiptIn(answer);
      // Whatever else it says, the address knows what became of the upload.
      throw new Error(`YouTube answered ${answer.status} to the last bytes`);
    },
    status: (task) => statusOf(task, config),
    find: (task, since) => find(task, config, since),
  };
}

function faultsOf(post: Post, file: Parameters<Adapter['faultsOf']>[1]): string[] {
  if (post.form !== 'video') return ['YouTube publishes videos: content.videoPath is missing'];
  const { settings, tags, title, description } = post;
  const tagged = tags.reduce((sum, tag) => sum + tag.length + (tag.includes(' ') ? 3 : 1), 0);
  return [
    ...(title?.trim() ? [] : ['the title is missing']),
    ...tooLong('the title', title, 100),
    ...(/[<>]/.test(`${title}${description}`) ? ['title and description may have no < and >'] : []),
    ...(Buffer.byteLength(description ?? '') > 5_000 ? ['the description has more than 5,000 bytes'] : []),
    ...(tagged > 500 ? ['the tags have more than 500 characters together'] : []),
    ...(settings.publishAt && privacyIn(privacies, settings.privacy ?? 'PRIVATE') !== 'private'
      ? ['settings.publishAt needs the privacy PRIVATE: YouTube makes it public then']
      : []),
    ...outside('length', file!.duration, { most: 43_200 }, 's'),
    ...outside('size', file!.bytes / 1e9, { most: 256 }, 'GB'),
  ];
}

/** Opens the upload. Its address is good for a week. */
async function prepare(task: Task, { social }: Settings): Promise<void> {
  const { post, access, signal, state } = task;
  const { facts } = await task.media.file();
  const notify = `&notifySubscribers=${post.settings.notifySubscribers !== false}`;
  const url = `${social.youtube.url}/upload/youtube/v3/videos?uploadType=resumable&part=snippet,status${notify}`;
  const answer = await exchange(new URL(url), {
    service,
    method: 'POST',
    headers: {
      ...jsonType,
      authorization: `Bearer ${access.token}`,
      'x-upload-content-type': 'video/*',
      'x-upload-content-length': String(facts.bytes),
    },
    body: JSON.stringify(resourceOf(post)),
    timeoutMs: social.timeoutMs,
    signal,
  });
  if (!isOk(answer)) throw judgeYouTube(answer);
  const { location } = answer.headers;
  if (!location) throw unavailable('YouTube answered without the address of the upload');
  await task.save({ ...state, bytes: facts.bytes, sent: 0 }, new URL(location, url).href);
}

function resourceOf({ title, description, tags, settings }: Post): Json {
  const { privacy, publishAt, madeForKids, aiGenerated, categoryId } = settings;
  return {
    snippet: { title, description: description ?? '', tags, categoryId: categoryId ?? '22' },
    status: {
      privacyStatus: privacyIn(privacies, privacy ?? (publishAt ? 'PRIVATE' : 'PUBLIC')),
      selfDeclaredMadeForKids: madeForKids === true,
      containsSyntheticMedia: aiGenerated === true,
      ...(publishAt ? { publishAt } : {}),
    },
  };
}

/** All bytes but those of the last chunk, from where YouTube says that it is. */
async function upload(task: Task, config: Settings): Promise<void> {
  const total = Number(task.state['bytes']);
  for (let before = -1; ;) {
    const { offset } = await probe(task, config);
    if (offset === undefined) throw new StartOver('the address of the upload is no longer good');
    if (offset <= before) throw unavailable(`YouTube takes no more than ${offset} bytes of ${total}`);
    before = offset;
    await task.save({ ...task.state, sent: offset });
    if (total - offset <= chunkBytes) return;
    for (let sent = offset; total - sent > chunkBytes;) {
      const answer = await send(task, config, sent, false);
      if (answer.status !== 308) throw await judgeChunk(answer);
      const next = receivedIn(answer);
      // It has taken less than it was sent: it is asked how much.
      if (next <= sent) break;
      sent = next;
      await task.save({ ...task.state, sent });
      task.progress(sent / total);
    }
  }
}

async function judgeChunk(answer: Answer): Promise<Error> {
  if (answer.status === 404 || answer.status === 410)
    return new StartOver('the address of the upload is no longer good');
  return answer.status >= 500 || isOk(answer)
    ? unavailable(`YouTube answered ${answer.status} to a chunk`)
    : judgeYouTube(answer);
}

/** From `start` one chunk, or all that is left. */
async function send(task: Task, { social }: Settings, start: number, rest: boolean): Promise<Answer> {
  const { path, facts } = await task.media.file();
  const total = Number(task.state['bytes']);
  if (facts.bytes !== total) throw new StartOver('the file has changed since its upload began');
  const chunk = { start, end: rest ? total : start + chunkBytes };
  return put(task, {
    headers: { authorization: `Bearer ${task.access.token}`, 'content-range': rangeOf(chunk, total) },
    body: bodyOf(path, chunk),
    publishes: rest,
    timeoutMs: social.uploadTimeoutMs,
  });
}

const put = (task: Task, asked: Pick<Asked, 'headers' | 'body' | 'publishes' | 'timeoutMs'>) =>
  exchange(new URL(task.uploadUrl ?? ''), { service, method: 'PUT', signal: task.signal, ...asked });

/** How far the upload is: the offset, or the video that it became; neither if the address is no longer good. */
async function probe(task: Task, { social }: Settings): Promise<{ offset?: number; receipt?: Receipt }> {
  const headers = {
    authorization: `Bearer ${task.access.token}`,
    'content-range': `bytes */${String(task.state['bytes'])}`,
  };
  const answer = await put(task, { headers, timeoutMs: social.timeoutMs });
  if (answer.status === 308) return { offset: receivedIn(answer) };
  if (answer.status === 200 || answer.status === 201) return { receipt: receiptIn(answer) };
  if (answer.status === 404 || answer.status === 410) return {};
  throw judgeYouTube(answer);
}

/** `Range: bytes=0-1023`: the bytes that are there. Without: none. */
const receivedIn = ({ headers }: Answer) => {
  const last = /^bytes=0-(\d+)$/.exec(headers['range'] ?? '')?.[1];
  return last === undefined ? 0 : Number(last) + 1;
};

function receiptIn(answer: Answer): Receipt {
  const id = wordIn(jsonIn(answer), 'id');
  return id ? { external_id: id, url: urlOf(id) } : {};
}

const urlOf = (id: string) => `https://www.youtube.com/watch?v=${id}`;

async function find(task: Task, config: Settings, since: Date): Promise<Found> {
  const { offset, receipt } = await probe(task, config);
  if (receipt) return { is: 'accepted', ...receipt };
  if (offset !== undefined) {
    await task.save({ ...task.state, sent: offset });
    return { is: 'absent' };
  }
  const id = await findUpload(task, config, since);
  if (id) return { is: 'accepted', external_id: id, url: urlOf(id) };
  return { is: 'unknown', reason: 'the address of the upload is gone, and the channel lists no such video' };
}

/** Among the newest videos of the channel. */
async function findUpload(task: Task, config: Settings, since: Date): Promise<string | undefined> {
  const [channel] = listIn(await read(task, config, 'channels?part=contentDetails&mine=true'), 'items');
  const lists = objectIn(objectIn(channel ?? {}, 'contentDetails'), 'relatedPlaylists');
  const playlist = wordIn(lists, 'uploads');
  if (!playlist) return undefined;
  const query = `playlistItems?part=snippet,contentDetails&maxResults=50&playlistId=${encodeURIComponent(playlist)}`;
  const ids = listIn(await read(task, config, query), 'items').flatMap((item) => {
    const snippet = objectIn(item, 'snippet');
    const isLater = Date.parse(wordIn(snippet, 'publishedAt') ?? '') >= since.getTime() - 3_600_000;
    const id = wordIn(objectIn(item, 'contentDetails'), 'videoId');
    return id && isLater && wordIn(snippet, 'title') === task.post.title ? [id] : [];
  });
  return (await task.strangers(ids))[0];
}

async function statusOf(task: Task, config: Settings): Promise<Fate> {
  const id = task.external_id ?? '';
  const query = `videos?part=status,processingDetails&id=${encodeURIComponent(id)}`;
  const [video] = listIn(await read(task, config, query), 'items');
  if (!video) return { is: 'processing', reason: 'YouTube does not list the video yet' };
  const status = objectIn(video, 'status');
  const uploadStatus = wordIn(status, 'uploadStatus') ?? 'no status';
  const why = wordIn(status, 'failureReason') ?? wordIn(status, 'rejectionReason') ?? 'it gives no reason';
  switch (uploadStatus) {
    case 'failed':
    case 'rejected':
    case 'deleted':
      return { is: 'failed', error: refused('social_processing_failed', `YouTube says ${uploadStatus}: ${why}`) };
    case 'processed': {
      const { publishAt } = task.post.settings;
      const note = await setThumbnail(task, config, id);
      const later = publishAt ? { note: `YouTube makes it public at ${publishAt}` } : {};
      return { is: 'published', external_id: id, url: urlOf(id), ...later, ...(note ? { note } : {}) };
    }
    default:
      return { is: 'processing', reason: `YouTube processes it: ${uploadStatus}` };
  }
}

/** The video is there: a thumbnail that is refused does not make it fail. */
async function setThumbnail(task: Task, { social }: Settings, id: string): Promise<string | undefined> {
  if (!task.post.hasThumbnail) return undefined;
  const { bytes, type } = await task.media.thumbnail();
  const answer = await exchange(new URL(`${social.youtube.url}/upload/youtube/v3/thumbnails/set?videoId=${id}`), {
    service,
    method: 'POST',
    headers: { 'content-type': type, authorization: `Bearer ${task.access.token}` },
    body: bytes,
    timeoutMs: social.uploadTimeoutMs,
    signal: task.signal,
  });
  if (isOk(answer)) return undefined;
  const error = judgeYouTube(answer);
  if (answer.status === 401 || answer.status >= 500 || error instanceof Limited) throw error;
  return `the thumbnail was refused: ${error.message}`;
}

async function read(task: Task, { social }: Settings, query: string): Promise<Json> {
  const headers = { authorization: `Bearer ${task.access.token}` };
  const url = new URL(`${social.youtube.url}/youtube/v3/${query}`);
  const answer = await exchange(url, { service, headers, timeoutMs: social.timeoutMs, signal: task.signal });
  if (!isOk(answer)) throw judgeYouTube(answer);
  return jsonIn(answer);
}
