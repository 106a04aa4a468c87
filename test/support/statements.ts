import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** Stands before Postgres, and counts the statements that are run through it. */
export type Counter = {
  url: string;
  /** How often a statement of ours was run. Without a name: how many statements were run. */
  runs(name?: string): number;
  close(): Promise<void>;
};

export async function countStatements(databaseUrl: string): Promise<Counter> {
  const server = new URL(databaseUrl);
  const counts = new Map<string, number>();
  const sockets = new Set<Socket>();
  const proxy = createServer((client) => {
    const upstream = connect(Number(server.port), server.hostname);
    const read = reader((name) => counts.set(name, (counts.get(name) ?? 0) + 1));
    client.on('data', read).pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => (client.destroy(), upstream.destroy()));
    }
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  return {
    url: url.href,
    runs(name) {
      const matching = [...counts].filter(([prepared]) => name === undefined || prepared.startsWith(`${name}_`));
      return matching.reduce((sum, [, runs]) => sum + runs, 0);
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await once(proxy.close(), 'close');
    },
  };
}

/**
 * Reads what a client sends: Bind names the prepared statement that is run, Query has the text of one.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
function reader(ran: (name: string) => void): (bytes: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  // The first message, which opens the session, has no type.
  let header = 0;
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= header + 4 && rest.length >= header + rest.readUInt32BE(header)) {
      const end = header + rest.readUInt32BE(header);
      const words = rest.toString('latin1', header + 4, end).split('\0');
      if (header === 1 && rest[0] === 'B'.charCodeAt(0)) ran(words[1]!);
      if (header === 1 && rest[0] === 'Q'.charCodeAt(0)) ran(words[0]!);
      rest = rest.subarray(end);
      header = 1;
    }
  };
}
