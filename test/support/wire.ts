import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** What stands between a bridge and a server, and fails as networks do. */
export type Wire = {
  /** The server's address, by way of this. */
  url: string;
  /** What is sent to the server does not arrive any more, on the connections that are open. */
  mute(): void;
  /** Ends the connections; new ones work. */
  cut(): void;
  /** Ends the connections, and new ones at once, until `comeBack`. */
  leave(): void;
  comeBack(): void;
  /** Sends this to the server, as if the bridge did. */
  inject(bytes: Buffer): void;
  close(): void;
};

type Pair = { client: Socket; server: Socket; muted: boolean };

/** @param delayMs how long a byte is on its way */
export async function startWire(to: string, delayMs = 0): Promise<Wire> {
  const url = new URL(to);
  const { hostname, port } = url;
  const pairs = new Set<Pair>();
  let away = false;
  const listener = createServer((client) => {
    if (away) return void client.on('error', () => {}).destroy();
    const pair = { client, server: connect(Number(port), hostname), muted: false };
    pairs.add(pair);
    const later = (work: () => unknown) => void (delayMs > 0 ? setTimeout(work, delayMs) : work());
    client.on('data', (bytes) => pair.muted || later(() => pair.server.write(bytes)));
    pair.server.on('data', (bytes) => later(() => client.write(bytes)));
    for (const socket of [client, pair.server])
      socket
        .on('error', () => {})
        .on('close', () => {
          pairs.delete(pair);
          // What was sent before arrives.
          later(() => (client.destroy(), pair.server.destroy()));
        });
  });
  await once(listener.listen(0, '127.0.0.1'), 'listening');
  url.hostname = '127.0.0.1';
  url.port = String((listener.address() as AddressInfo).port);
  const cut = () => pairs.forEach(({ client, server }) => (client.destroy(), server.destroy()));
  return {
    url: url.href,
    mute: () => pairs.forEach((pair) => void (pair.muted = true)),
    cut,
    leave() {
      away = true;
      cut();
    },
    comeBack() {
      away = false;
    },
    inject: (bytes) => pairs.forEach(({ server }) => server.write(bytes)),
    close() {
      cut();
      listener.close();
    },
  };
}
