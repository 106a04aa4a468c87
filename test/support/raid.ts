import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** How the next requests for a key go wrong: `times` of them, then all is well again; without `times`, all of them. */
export type Failure = { times?: number } & (
  | { status: number; headers?: Record<string, string> }
  /** Other bytes than those stored, such as an error page. */
  | { bytes: Buffer; headers?: Record<string, string> }
  | { redirect: string }
  | { hang: 'before headers' | 'in the body' }
  /** A byte each so many milliseconds. */
  | { drip: number }
  /** The connection ends after so many bytes of what the headers promised; `chunked` promises nothing. */
  | { cutAfter: number; chunked?: boolean }
  | { reset: true }
  | { endless: true }
);

export type FakeRaid = {
  endpoint: string;
  secret: string;
  /** What it has, by key. */
  files: Map<string, Buffer>;
  requests: { key: string | null; url: string; headers: IncomingMessage['headers'] }[];
  fail(key: string, failure: Failure): void;
  /** From here on honest again about this key. */
  heal(key: string): void;
  /** Whether it knows no secret: 401 to whoever asks for whatever. */
  lock(locked: boolean): void;
  /** Answers that are neither finished nor cut off by the other side. */
  unfinished(): number;
  close(): Promise<void>;
};

/** A RAID on a loopback socket: `GET ?key=`, `Authorization: Bearer`, and every way of failing. */
export async function startRaid({ secret = 'raid-test-secret' } = {}): Promise<FakeRaid> {
  const files = new Map<string, Buffer>();
  const failures = new Map<string, Failure>();
  const requests: FakeRaid['requests'] = [];
  const sockets = new Set<Socket>();
  let unfinished = 0;
  let locked = false;

  const server = createServer((request, response) => {
    unfinished += 1;
    response.on('close', () => (unfinished -= 1));
    const url = new URL(request.url!, 'http://raid');
    const key = url.searchParams.get('key');
    requests.push({ key, url: request.url!, headers: request.headers });
    const failure = takeFailure(failures, key);
    if (failure) return void misbehave(failure, response, files.get(key ?? ''));
    const file = files.get(key ?? '');
    if (locked || request.headers.authorization !== `Bearer ${secret}`)
      return void response.writeHead(401).end('who are you?');
    if (request.method !== 'GET' || url.pathname !== '/pub' || !file) return void response.writeHead(404).end();
    response.writeHead(200, { 'content-length': file.length }).end(file);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/pub`,
    secret,
    files,
    requests,
    fail: (key, failure) => failures.set(key, { ...failure }),
    heal: (key) => failures.delete(key),
    lock: (now) => void (locked = now),
    unfinished: () => unfinished,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function takeFailure(failures: Map<string, Failure>, key: string | null): Failure | undefined {
  const failure = failures.get(key ?? '');
  if (failure?.times === undefined) return failure;
  if (failure.times === 0) return undefined;
  failure.times -= 1;
  return failure;
}

async function misbehave(
  failure: Failure,
  response: ServerResponse,
  file: Buffer = Buffer.alloc(1000, 'x'),
): Promise<void> {
  const whole = { 'content-length': file.length };
  if ('status' in failure) response.writeHead(failure.status, failure.headers).end('no');
  else if ('bytes' in failure) response.writeHead(200, failure.headers).end(failure.bytes);
  else if ('redirect' in failure) response.writeHead(302, { location: failure.redirect }).end('over there');
  else if ('reset' in failure) response.socket?.resetAndDestroy();
  else if ('hang' in failure) {
    if (failure.hang === 'in the body') response.writeHead(200, whole).write(file.subarray(0, file.length / 2));
  } else if ('cutAfter' in failure) {
    response.writeHead(200, failure.chunked ? {} : whole);
    response.write(file.subarray(0, failure.cutAfter), () => response.socket?.end());
  } else if ('drip' in failure) {
    response.writeHead(200, whole);
    for (const byte of file) {
      if (response.destroyed) return;
      response.write(Uint8Array.of(byte));
      await sleep(failure.drip);
    }
    response.end();
  } else {
    response.writeHead(200);
    while (!response.destroyed) {
      if (!response.write(Buffer.alloc(65_536))) await sleep(1);
    }
  }
}
