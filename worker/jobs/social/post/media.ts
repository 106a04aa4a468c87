import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { App } from '../../../app.ts';
import { loadStatements, query } from '../../../base/db/sql.ts';
import { PermanentError, Snooze } from '../../../base/errors.ts';
import { download as fetchUrl } from '../../../base/http/fetch.ts';
import { createGuard } from '../../../base/http/guard.ts';
import { download } from '../../../base/storage/download.ts';
import type { FileFacts, Media } from '../../../providers/social/adapter.ts';
import { refused } from '../../../providers/social/errors.ts';
import type { Content } from './payload.ts';

const sql = loadStatements(import.meta.dirname, 'media.sql', ['result_of_job']);

const service = {
  code: 'source',
  name: 'The server of the file',
  settings: {
    address: 'the address of the file',
    secret: 'whether anybody may read it',
    limit: 'MEDIA_MAX_MB',
    timeout: 'SOCIAL_UPLOAD_TIMEOUT',
  },
};

/** For how long an address is signed: a platform may fetch the file some hours later. */
const signedSeconds = 24 * 3_600;
const jobPollMs = 15_000;
const thumbnailBytes = 8_000_000;

/** Where a file is: under a key in storage, or at an address. */
type Place = { key: string } | { url: URL };

/** The files of a post. Each is fetched when it is first asked for, into `dir`. */
export function mediaOf(app: App, content: Content, dir: string, signal: AbortSignal): Media {
  let file: ReturnType<Media['file']> | undefined;
  const { videoPath, imagePaths = [], thumbnailPath = '' } = content;
  const urlOf = async (place: Place) => {
    const url = 'url' in place ? place.url.href : await app.storage.presign(place.key, signedSeconds);
    const { allowHttp } = app.config.social;
    if (url.startsWith('https://') || (allowHttp && url.startsWith('http://'))) return url;
    throw refused(
      'social_media_not_public',
      'The platform fetches the file itself: it needs an https address, or storage that signs addresses (S3)',
    );
  };
  return {
    file() {
      file ??= fetchVideo(app, videoPath, dir, signal);
      return file;
    },
    videoUrl: async () => urlOf(await placeOfVideo(app, videoPath)),
    imageUrl: (n) => urlOf(placeOf(imagePaths[n]!)),
    thumbnailUrl: () => urlOf(placeOf(thumbnailPath)),
    async thumbnail() {
      const path = join(dir, 'thumbnail');
      await fetchTo(app, placeOf(thumbnailPath), path, thumbnailBytes, signal);
      const bytes = await readFile(path);
      return { bytes, type: bytes.toString('latin1', 0, 4) === '\x89PNG' ? 'image/png' : 'image/jpeg' };
    },
  };
}

type Made = { status: string; result: { mp4?: { key?: string } | null; key?: string } | null };

/** @throws Snooze while the job that makes the video runs; PermanentError `social_media_failed` */
async function placeOfVideo({ db }: App, videoPath: Content['videoPath']): Promise<Place> {
  if (typeof videoPath === 'string') return placeOf(videoPath);
  const id = videoPath!.job;
  const [made] = await query<Made>(db, sql.result_of_job, { id });
  if (made?.status === 'pending' || made?.status === 'processing')
    throw new Snooze(jobPollMs, `it waits for job ${id}, which makes the video`);
  const key = made?.status === 'completed' ? (made.result?.mp4?.key ?? made.result?.key) : undefined;
  if (key !== undefined) return { key };
  throw new PermanentError(
    'social_media_failed',
    made ? `Job ${id} is ${made.status}, and has no MP4` : `There is no job ${id}, which content.videoPath names`,
  );
}

/** A file of this machine is never read: `/path` is a key in storage without its slash. */
const placeOf = (path: string): Place =>
  /^https?:\/\//i.test(path) ? { url: new URL(path) } : { key: path.replace(/^\/+/, '') };

async function fetchVideo(app: App, videoPath: Content['videoPath'], dir: string, signal: AbortSignal) {
  const path = join(dir, 'video');
  await fetchTo(app, await placeOfVideo(app, videoPath), path, app.config.mediaMaxBytes, signal);
  return { path, facts: await factsOf(app, path, dir, signal) };
}

async function fetchTo(app: App, place: Place, to: string, maxBytes: number, signal: AbortSignal): Promise<void> {
  const { allow, allowHttp, uploadTimeoutMs: timeoutMs } = app.config.social;
  if ('key' in place) {
    await download(app.storage, place.key, { to, maxBytes, signal });
    return;
  }
  const guard = createGuard({ allow, httpsOnly: !allowHttp });
  await fetchUrl(place.url, { service, to, guard, maxBytes, timeoutMs, signal });
}

async function factsOf({ ffmpeg }: App, path: string, dir: string, signal: AbortSignal): Promise<FileFacts> {
  const { bytes, duration, format, video } = await ffmpeg.probe(path, { dir, signal });
  const [stream] = video;
  if (!stream) throw refused('social_content_refused', 'The file has no picture: it is no video');
  const { codec, shown, fps } = stream;
  const [width, height] = [Math.round(shown.width), Math.round(shown.height)];
  return { bytes, duration: duration ?? stream.duration, codec, width, height, fps, format };
}
