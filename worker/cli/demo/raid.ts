import { createReadStream } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';

export type StandIn = { endpoint: string; secret: string; close(): Promise<void> };

/** A stand-in for RAID on loopback: `GET ?key=` returns the file under that key to a client that knows the secret. */
export async function startStandIn(files: ReadonlyMap<string, string>, secret: string): Promise<StandIn> {
  const server = createServer((request, response) => {
    const path = files.get(new URL(request.url ?? '/', 'http://raid').searchParams.get('key') ?? '');
    if (request.headers.authorization !== `Bearer ${secret}`) response.writeHead(401).end();
    else if (path === undefined) response.writeHead(404).end();
    // A client that went away, or a file that vanished, does not concern the other requests.
    else pipeline(createReadStream(path), response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    secret,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
