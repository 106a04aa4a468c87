import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/**
 * What stands between a worker and Postgres, and can go silent as networks do: nothing is closed, nothing arrives any
 * more.
 */
export type Proxy = {
  url: string;
  /** The connections that are open go silent for good; new ones work. */
  lose(): void;
  /**
   * Of a connection that sends this text: the answer to its next `commit` does not come back, and the connection is
   * closed when the server has given it.
   */
  loseCommitAfter(text: string): void;
  /** All go silent, new ones too, until `thaw`; those that were opened meanwhile stay silent. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
};

type Way = { silent: boolean; commit?: 'to be lost' | 'lost' };

export async function startProxy(databaseUrl: string): Promise<Proxy> {
  const server = new URL(databaseUrl);
  const ways = new Set<Way>();
  const sockets = new Set<Socket>();
  let frozen = false;
  let marker: string | undefined;

  const proxy = createServer({ allowHalfOpen: true }, (client) => {
    const way: Way = { silent: frozen };
    ways.add(way);
    const upstream = connect({ host: server.hostname, port: Number(server.port), allowHalfOpen: true });
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('error', () => {});
      from.on('data', (bytes: Buffer) => {
        if (from === client) watch(way, bytes);
        else if (way.commit === 'lost') return void client.destroy();
        if (!way.silent) to.write(bytes);
      });
      from.on('end', () => way.silent || to.end());
      from.on('close', () => way.silent || to.destroy());
    }
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  function watch(way: Way, bytes: Buffer): void {
    if (way.commit === 'to be lost' && bytes.includes('commit\0')) way.commit = 'lost';
    if (marker === undefined || !bytes.includes(marker)) return;
    marker = undefined;
    way.commit = 'to be lost';
  }

  const lose = () => {
    for (const way of ways) way.silent = true;
    ways.clear();
  };
  return {
    url: url.href,
    lose,
    loseCommitAfter(text) {
      marker = text;
    },
    freeze() {
      frozen = true;
      lose();
    },
    thaw() {
      frozen = false;
    },
    async close() {
      lose();
      for (const socket of sockets) socket.destroy();
      await once(proxy.close(), 'close');
    },
  };
}
