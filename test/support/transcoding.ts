import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createServer, type ServerResponse } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import sharp from 'sharp';
import type { App } from '../../worker/app.ts';
import type { TranscodeResult } from '../../worker/jobs/media/transcode.ts';
import { ffmpeg, ffmpegEnv, generate } from './clips.ts';
import { eventually } from './eventually.ts';
import { add, reads, type Row } from './jobs.ts';
import { createMediaRig, type MediaRig } from './media-rig.ts';

/** For tests of media.transcode: a worker with S3, a web server that is its CDN, and a red watermark. */
export type TranscodeRig = MediaRig & {
  /** A job that is over, however it ended. */
  transcode(key: string, options?: object, columns?: object): Promise<Row>;
  /** What a job made. */
  made(key: string, options?: object): Promise<TranscodeResult>;
  keysUnder(prefix: string): Promise<string[]>;
};

export async function createTranscodeRig(env: Record<string, string> = {}): Promise<TranscodeRig> {
  const dir = await mkdtemp(join(tmpdir(), 'transcode-'));
  const mark = join(dir, 'mark.png');
  await sharp({ create: { width: 100, height: 50, channels: 3, background: '#ff0000' } }).toFile(mark);
  const web = createServer((request, response) => void answer(rig.app, request.url!, response));
  await new Promise<void>((listening) => web.listen(0, '127.0.0.1', listening));
  const rig = await createMediaRig({
    ...ffmpegEnv,
    CDN_BASE_URL: `http://127.0.0.1:${(web.address() as AddressInfo).port}`,
    FFMPEG_PRESET: 'ultrafast',
    THUMBNAIL_SIZES: '160x160,320x320',
    WATERMARK_PATH: mark,
    WATERMARK_OPACITY: '1',
    WATERMARK_SCALE: '0.2',
    ...env,
  });

  async function transcode(key: string, options: object = {}, columns: object = {}): Promise<Row> {
    const id = await add(rig.db, 'media', 'transcode', { payload: { inputPath: key, options }, ...columns });
    return eventually(async () => {
      const row = await reads(rig.db, id, {});
      assert.ok(row['completed_at'], `${row.status}: ${row['error_code']}`);
      return row;
    }, 60_000);
  }

  return {
    ...rig,
    transcode,
    async made(key, options) {
      const row = await transcode(key, options);
      assert.equal(row.status, 'completed', `${row['error_code']}: ${row['error']}`);
      return row['result'] as TranscodeResult;
    },
    async keysUnder(prefix) {
      const keys: string[] = [];
      for await (const { key } of rig.app.storage.list(prefix)) keys.push(key);
      return keys;
    },
    async close() {
      await rig.close();
      web.close();
      web.closeAllConnections();
      await rm(dir, { recursive: true });
    },
  };
}

async function answer({ storage }: App, url: string, response: ServerResponse): Promise<void> {
  const key = decodeURIComponent(url.slice(1));
  const found = await storage.head(key);
  if (!found) return void response.writeHead(404).end();
  response.writeHead(200, { 'content-type': found.content_type!, 'access-control-allow-origin': '*' });
  response.end(await buffer(await storage.get(key)));
}

/** A test picture that moves, with a tone. */
export function clip({ size = '320x180', seconds = 2, rate = '25', sound = tone(seconds), options = '' } = {}) {
  const picture = `-f lavfi -i testsrc2=size=${size}:rate=${rate}:duration=${seconds}`;
  const words = `${picture} ${sound} -c:v libx264 -preset ultrafast -pix_fmt yuv420p ${options}`;
  return generate('clip.mp4', words.trim().replace(/ +/g, ' '));
}
export const tone = (seconds: number) => `-f lavfi -i sine=frequency=440:duration=${seconds} -c:a aac`;

export const blue = () => generate('blue.mp4', '-f lavfi -i color=blue:size=320x180:duration=0.4 -pix_fmt yuv420p');

export const text = async (url: string) => (await fetch(url)).text();

export async function ffprobe(...args: string[]): Promise<string> {
  const { programs } = await ffmpeg.capabilities();
  return (await promisify(execFile)(programs.ffprobe.path, ['-v', 'error', ...args])).stdout;
}

/**
 * Plays all of it by ffmpeg: how many frames there are, and whether there is sound. Undefined where this ffmpeg cannot.
 */
export async function playByFfmpeg(url: string): Promise<{ frames: number; sound: boolean } | undefined> {
  const { programs, version } = await ffmpeg.capabilities();
  const run = (...args: string[]) => promisify(execFile)(programs.ffmpeg.path, args);
  const { pathname, search } = new URL(url);
  const isDash = pathname.endsWith('.mpd');
  // Before 5, as that of the npm package, it loses the signatures of a manifest's addresses.
  if (isDash && search !== '' && !/^([5-9]|\d\d)\./.test(version)) return undefined;
  if (isDash && !(await run('-hide_banner', '-demuxers')).stdout.includes(' dash ')) return undefined;
  const { stdout, stderr } = await run(...`-v error -i ${url} -map 0:v -map 0:a -f framecrc -`.split(' '));
  assert.equal(stderr, '');
  const streams = stdout.split('\n').map((line) => line[0]);
  return { frames: streams.filter((stream) => stream === '0').length, sound: streams.includes('1') };
}

/** The addresses that a playlist names. */
export const namedBy = (playlist: string, url: string) =>
  [...playlist.matchAll(/^([^#\n]+)$|URI="([^"]+)"/gm)].map(([, line, uri]) => new URL(line ?? uri!, url).href);
