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
  /** All go silent, new ones too, until `thaw`; those that were opened meanwhile stay silent. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
};

type Way = { silent: boolean };

export async function startProxy(databaseUrl: string): Promise<Proxy> {
  const server = new URL(databaseUrl);
  const ways = new Set<Way>();
  const sockets = new Set<Socket>();
  let frozen = false;

  const proxy = createServer({ allowHalfOpen: true }, (client) => {
    const way = { silent: frozen };
    ways.add(way);
    const upstream = connect({ host: server.hostname, port: Number(server.port), allowHalfOpen: true });
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('error', () => {});
      from.on('data', (bytes) => way.silent || to.write(bytes));
      from.on('end', () => way.silent || to.end());
      from.on('close', () => way.silent || to.destroy());
    }
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const lose = () => {
    for (const way of ways) way.silent = true;
    ways.clear();
  };
  return {
    url: url.href,
    lose,
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
