import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import sharp from 'sharp';
import { takeFrame } from '../../worker/media/video/frame.ts';
import { createMemoryGate } from '../../worker/media/memory.ts';
import { ffmpeg } from './clips.ts';

/** How the next requests go wrong: `times` of them, then all is well again; without `times`, all of them. */
export type ImagorFailure = { times?: number } & (
  | { status: number; headers?: Record<string, string> }
  /** 406 and a picture of one pixel, as it says that it failed. */
  | { pixel: true }
  /** Other bytes than the picture. */
  | { bytes: Buffer }
  | { hang: true }
  /** Answers as ever, when this has come to pass. */
  | { after: Promise<unknown> }
  /** The connection ends after so many bytes of what the headers promised. */
  | { cutAfter: number }
);

export type FakeImagorVideo = {
  url: string;
  /** What was asked, as it was parsed. */
  asked: Asked[];
  fail(failure: ImagorFailure): void;
  heal(): void;
  close(): Promise<void>;
};
export type Asked = { box: { width: number; height: number }; filters: Record<string, string>; source: string };

/**
 * An imagorvideo on a loopback socket: it fetches the video that it is asked for, and makes the picture with ffmpeg.
 * `/unsafe/fit-in/ExF/filters:NAME(ARGS):.../IMAGE`, https://github.com/cshum/imagor#image-endpoint
 */
export async function startImagorVideo(): Promise<FakeImagorVideo> {
  const asked: Asked[] = [];
  let failure: ImagorFailure | undefined;

  async function serve(url: string, response: ServerResponse): Promise<void> {
    if (!url.startsWith('/unsafe/')) return answerError(response, 403, 'url signature mismatch');
    const wanted = parse(url.slice('/unsafe/'.length));
    if (!wanted) return answerError(response, 400, 'invalid');
    asked.push(wanted);
    const mood = failure && (failure.times ?? 1) > 0 ? failure : undefined;
    if (mood?.times !== undefined) mood.times--;

    if (mood && 'status' in mood) return void response.writeHead(mood.status, mood.headers).end('no');
    if (mood && 'pixel' in mood) return answerPixel(response);
    if (mood && 'bytes' in mood) return void response.writeHead(200).end(mood.bytes);
    if (mood && 'hang' in mood) return;
    if (mood && 'after' in mood) await mood.after;
    const made = await makePicture(wanted);
    if (typeof made === 'number')
      return made === 406 ? answerPixel(response) : answerError(response, made, 'no source');
    response.writeHead(200, { 'content-type': `image/${wanted.filters['format']}`, 'content-length': made.length });
    if (!mood || !('cutAfter' in mood)) return void response.end(made);
    response.write(made.subarray(0, mood.cutAfter), () => response.socket?.end());
  }

  const server = createServer((request, response) => {
    serve(request.url!, response).catch((error: unknown) => response.destroy(error as Error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    fail: (next) => void (failure = { ...next }),
    heal: () => void (failure = undefined),
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

function parse(path: string): Asked | undefined {
  const match = /^fit-in\/(\d+)x(\d+)\/filters:([^/]+)\/([^/?#]+)$/.exec(path);
  if (!match) return undefined;
  const filters = match[3]!.split(':').map((filter) => /^(\w+)\((.*)\)$/.exec(filter)!.slice(1) as [string, string]);
  return {
    box: { width: Number(match[1]), height: Number(match[2]) },
    filters: Object.fromEntries(filters),
    source: decodeURIComponent(match[4]!),
  };
}

/** The picture, or the status of a failure: that of the source's own server, or its own. */
async function makePicture({ source, box, filters }: Asked): Promise<Buffer | number> {
  const fetched = await fetch(source);
  if (!fetched.ok) return fetched.status;
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-imagorvideo-'));
  const signal = AbortSignal.timeout(30_000);
  const memory = createMemoryGate({ bytes: 1e9, slots: 1 });
  try {
    const path = join(dir, 'video');
    await pipeline(Readable.fromWeb(fetched.body as ReadableStream), createWriteStream(path));
    const { video, duration } = await ffmpeg.probe(path, { dir, signal });
    const frame = await takeFrame(path, { ffmpeg, video: video[0]!, duration, at: 0.5, box, dir, signal, memory });
    return await sharp(frame.path)
      .toFormat(filters['format'] as 'png')
      .toBuffer();
  } catch {
    return 406;
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** What it sends with a 406. https://github.com/cshum/imagorvideo/blob/master/processor.go */
function answerPixel(response: ServerResponse): void {
  const pixel = Buffer.from('R0lGODlhAQABAIAAAAAAAAAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==', 'base64');
  response.writeHead(406, { 'content-type': 'image/gif' }).end(pixel);
}

function answerError(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ message, status }));
}
