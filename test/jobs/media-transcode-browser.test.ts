import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Browser } from 'playwright-core';
import type { TranscodeResult } from '../../worker/jobs/media/transcode.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { findChromium, startChromium } from '../support/browser.ts';
import { ffmpegEnv, generate } from '../support/clips.ts';
import { add, reads } from '../support/jobs.ts';
import { createRig, type Rig } from '../support/worker.ts';

// What media.transcode makes, in a real browser: by hls.js, by dash.js, and as a plain file.

const executable = findChromium();
const skip = executable === undefined && 'no Chromium in PATH or CHROMIUM_PATH: HLS and DASH are not played';
if (skip) console.log(skip);

let rig: Rig;
let web: Server;
let dir: string;
let browser: Browser;
let result: TranscodeResult;

const seconds = 9;
const require = createRequire(import.meta.url);
const pages: Record<string, string> = {
  '/': join(import.meta.dirname, '../support/player.html'),
  '/hls.js': require.resolve('hls.js'),
  '/dash.js': require.resolve('dashjs'),
};
const types: Record<string, string> = { '.js': 'text/javascript', '.mp4': 'video/mp4' };

before(async () => {
  if (skip) return;
  [rig, dir] = await Promise.all([createRig(), mkdtemp(join(tmpdir(), 'browser-'))]);
  const storage = join(dir, 'storage');
  web = createServer((request, response) => {
    const { pathname } = new URL(request.url!, 'http://web');
    readFile(pages[pathname] ?? join(storage, pathname)).then(
      (bytes) => response.writeHead(200, { 'content-type': types[extname(pathname)] ?? 'text/html' }).end(bytes),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((listening) => web.listen(0, '127.0.0.1', listening));
  const { app } = await rig.worker(await loadRegistry(), {
    ...ffmpegEnv,
    QUEUES: 'media',
    DATA_DIR: dir,
    CDN_BASE_URL: origin(),
    FFMPEG_PRESET: 'ultrafast',
  });
  const original = await generate(
    'clip.mp4',
    `-f lavfi -i testsrc2=size=854x480:rate=25:duration=${seconds} -f lavfi -i sine=duration=${seconds} ` +
      '-c:v libx264 -preset ultrafast -crf 35 -pix_fmt yuv420p -c:a aac',
  );
  await app.storage.put('clip.mp4', original, { contentType: 'video/mp4' });
  const options = { formats: ['hls', 'dash', 'mp4'], thumbnails: false };
  const id = await add(rig.db, 'media', 'transcode', { payload: { s3Key: 'clip.mp4', options } });
  result = (await reads(rig.db, id, { status: 'completed' }, 60_000))['result'] as TranscodeResult;
  browser = await startChromium(executable!);
});
after(async () => {
  if (skip) return;
  await browser.close();
  await rig.close();
  web.close();
  web.closeAllConnections();
  await rm(dir, { recursive: true });
});

const origin = () => `http://127.0.0.1:${(web.address() as AddressInfo).port}`;

type Played = { start: number; end: number; time: number; heights: number[]; errors: string[] };

/** Plays it at four times its speed, by one of the players of player.html. */
async function watch(by: 'hls' | 'hlsUpwards' | 'dash' | 'file', url: string): Promise<Played> {
  const page = await browser.newPage();
  const errors: string[] = [];
  page.on('pageerror', ({ message }) => errors.push(message));
  page.on('console', (said) => {
    if (said.type() === 'error') errors.push(said.text());
  });
  try {
    await page.goto(origin());
    const seen = await page.evaluate<Omit<Played, 'errors'>>(`watch('${by}', '${url}')`);
    return { ...seen, errors };
  } finally {
    await page.close();
  }
}

function assertPlayed({ start, end, heights, time, errors }: Played): void {
  assert.deepEqual(errors, []);
  assert.equal(start, 0, 'picture and sound begin at 0');
  assert.ok(Math.abs(end - seconds) < 0.1, `lasts ${end} s`);
  assert.ok(Math.abs(time - end) < 0.2, `played ${time} s of ${end}`);
  assert.ok(heights.length > 0 && heights.every((height) => [360, 480].includes(height)), heights.join());
}

const limits = { skip, timeout: 60_000 };

test('hls.js plays it to its end', limits, async () => {
  assertPlayed(await watch('hls', result.hls!.master_url));
});

test('hls.js changes from one rendition to another without a gap', limits, async () => {
  const played = await watch('hlsUpwards', result.hls!.master_url);
  assertPlayed(played);
  assert.deepEqual(played.heights, [360, 480]);
});

test('dash.js plays it to its end', limits, async () => {
  assertPlayed(await watch('dash', result.dash!.manifest_url));
});

test('the MP4 plays to its end by itself', limits, async () => {
  assertPlayed(await watch('file', result.mp4!.url));
});
