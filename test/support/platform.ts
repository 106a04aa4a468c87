import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A request as the far side read it. `bytes` of the body were counted; `body` is its beginning, as text. */
export type Asked = {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  body: string;
  bytes: number;
};
export type Answer = { status: number; headers?: Record<string, string>; body?: object };

/** `drop`: not processed, no answer. `lost`: processed, no answer. */
export type Fault = 'drop' | 'lost' | Answer;

export type Platform = {
  url: string;
  asked: Asked[];
  /** The next requests to paths like `at` go wrong, `times` of them. */
  fail(at: RegExp, fault: Fault, times?: number): void;
  /**
   * Called when the headers of a request are there, before it is processed, and before it is answered. What it returns
   * is awaited; `drop` ends the connection.
   */
  onRequest: ((moment: 'arrives' | 'before' | 'after', asked: Asked) => unknown) | undefined;
  /** Called with the bytes of a file as they come, and where they are in the body. */
  onBytes: ((asked: Asked, bytes: Buffer, at: number) => void) | undefined;
  /** The next parts of a file break off after so many bytes. */
  cuts: number[];
  close(): Promise<void>;
};

const keptBytes = 1_000_000;

/** The API of a platform on a loopback socket. It keeps no uploaded bytes, but counts them. */
export async function startPlatform(answers: (asked: Asked, base: string) => Answer): Promise<Platform> {
  let failure: { at: RegExp; fault: Fault; times: number } | undefined;
  const sockets = new Set<Socket>();
  const faults: unknown[] = [];
  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      // Not a client that was killed: its socket is gone.
      if (!request.socket.destroyed) faults.push(error);
      request.socket.destroy();
    });
  });
  server.on('connection', (socket) => sockets.add(socket).size && socket.on('close', () => sockets.delete(socket)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function serve(request: IncomingMessage, response: ServerResponse) {
    const { pathname, searchParams } = new URL(request.url!, url);
    const hits = failure && failure.times > 0 && failure.at.test(pathname) ? failure : undefined;
    if (hits) hits.times--;
    const fault = hits?.fault;
    const { method = '', headers } = request;
    const asked = { method, path: pathname, query: searchParams, headers, body: '', bytes: 0 };
    await platform.onRequest?.('arrives', asked);
    Object.assign(asked, isOfFile(request) ? await readPart(request, asked) : await read(request));
    // A request that was read to its end no longer takes its socket along.
    if (fault === 'drop') return void request.socket.destroy();
    if (typeof fault === 'object') return send(response, fault);
    platform.asked.push(asked);
    if ((await platform.onRequest?.('before', asked)) === 'drop') return void request.socket.destroy();
    const answer = answers(asked, url);
    if ((await platform.onRequest?.('after', asked)) === 'drop' || fault !== undefined)
      return void request.socket.destroy();
    send(response, answer);
  }

  /** The bytes that came, if they break off. */
  async function readPart(request: IncomingMessage, asked: Asked): Promise<{ bytes: number }> {
    const end = platform.cuts.shift() ?? Infinity;
    let bytes = 0;
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        const taken = chunk.subarray(0, end - bytes);
        if (taken.length === 0) break;
        platform.onBytes?.(asked, taken, bytes);
        bytes += taken.length;
        if (bytes >= end) request.socket.destroy();
      }
    } catch {
      // The client broke off.
    }
    return { bytes };
  }

  const platform: Platform = {
    url,
    asked: [],
    onRequest: undefined,
    onBytes: undefined,
    cuts: [],
    fail: (at, fault, times = 1) => (failure = { at, fault, times }),
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
      assert.deepEqual(faults, [], 'what was sent to the platform is wrong');
    },
  };
  return platform;
}

async function read(request: IncomingMessage): Promise<{ body: string; bytes: number }> {
  const kept: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    if (bytes < keptBytes) kept.push(chunk);
    bytes += chunk.length;
  }
  return { body: Buffer.concat(kept).toString('utf8'), bytes };
}

function send(response: ServerResponse, { status, headers = {}, body }: Answer): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  // Ids of 19 digits are numbers in the JSON of TikTok.
  response.end(body === undefined ? '' : JSON.stringify(body).replace(/\["(\d{19})"\]/g, '[$1]'));
}

/** Whether the body is a part of a file. */
export const isOfFile = ({ headers }: Pick<IncomingMessage, 'headers'>) =>
  /^bytes \d/.test(headers['content-range'] ?? '') || 'offset' in headers || 'file_offset' in headers;

/** `bytes 0-1023/4096`, or `bytes *` + `/4096`. */
export function rangeIn({ headers }: Asked): { start: number; end: number; total: number } {
  const [, start, last, total] = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+)$/.exec(String(headers['content-range'])) ?? [];
  if (total === undefined) throw new Error(`no Content-Range: ${headers['content-range']}`);
  return { start: Number(start ?? -1), end: Number(last ?? -2) + 1, total: Number(total) };
}

/** A post as the platform has it. */
export type Made = { id: string; text: string; at: Date };
