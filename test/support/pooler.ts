import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '../../worker/base/db/db.ts';

/**
 * A pooler before the test server, as PgBouncer is: it answers the handshake itself, whatever the password, and lends
 * the sessions that it keeps with Postgres for as long as its mode says. NOTIFY comes with the next answer only.
 * https://www.postgresql.org/docs/current/protocol-flow.html
 */
export type Pooler = { url: string; close(): Promise<void> };

export type PoolerOptions = {
  mode: 'session' | 'transaction' | 'statement';
  /** Sessions with Postgres. */
  size: number;
  /** Which of those that are idle is lent: the one used last, or the one idle for longest. */
  lend?: 'last' | 'first';
  /** How long each answer takes. */
  delayMs?: number;
};

export async function startPooler(databaseUrl: string, options: PoolerOptions): Promise<Pooler> {
  const { mode, size, lend = 'last', delayMs = 0 } = options;
  const sessions = await Promise.all(Array.from({ length: size }, () => connect(databaseUrl)));
  const idle = [...sessions];
  const waiting: ((session: Stream) => void)[] = [];
  const clients = new Set<Socket>();

  async function borrow(): Promise<Stream> {
    return (lend === 'last' ? idle.pop() : idle.shift()) ?? new Promise((resolve) => waiting.push(resolve));
  }

  function giveBack(session: Stream): void {
    const next = waiting.shift();
    if (next) next(session);
    else idle.push(session);
  }

  async function serve(client: Stream): Promise<void> {
    await greet(client);
    let lent: Stream | undefined;
    try {
      for (;;) {
        const request = await client.read();
        // Terminate ends the client, and no session with Postgres.
        if (request.type === 'X') return;
        if (mode === 'statement' && /^begin\b/i.test(request.body)) {
          client.socket.end(refusal('transaction blocks not allowed in statement pooling mode'));
          return;
        }
        lent ??= await borrow();
        lent.socket.write(request.bytes);
        if (!endsRequest(request)) continue;
        const { bytes, inTransaction } = await answerOf(lent);
        if (delayMs > 0) await sleep(delayMs);
        if (!inTransaction && mode !== 'session') {
          giveBack(lent);
          lent = undefined;
        }
        client.socket.write(bytes);
      }
    } finally {
      lent?.socket.write(query('rollback; discard all'));
      if (lent) await answerOf(lent).then(() => giveBack(lent!));
    }
  }

  const server = createServer((socket) => {
    clients.add(socket);
    serve(streamOf(socket)).catch(() => socket.destroy());
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: url.href,
    async close() {
      for (const socket of [...clients, ...sessions.map((session) => session.socket)]) socket.destroy();
      await once(server.close(), 'close');
    },
  };
}

/** A session with Postgres, past its handshake: from then on its socket is ours. */
async function connect(databaseUrl: string): Promise<Stream> {
  const client = createClient(databaseUrl);
  client.on('error', () => {});
  await client.connect();
  const { stream } = (client as unknown as { connection: { stream: Socket } }).connection;
  stream.removeAllListeners('data');
  return streamOf(stream);
}

type Message = { type: string; bytes: Buffer; body: string };
type Stream = { socket: Socket; read(options?: { typed: boolean }): Promise<Message> };

/**
 * Messages, one at a time: a byte for the type, which the first ones of a client lack, and four for the length of the
 * rest.
 */
function streamOf(socket: Socket): Stream {
  let buffered = Buffer.alloc(0);
  let arrived = Promise.withResolvers<void>();
  arrived.promise.catch(() => {});
  socket.on('data', (chunk) => {
    buffered = Buffer.concat([buffered, chunk]);
    arrived.resolve();
    arrived = Promise.withResolvers();
    arrived.promise.catch(() => {});
  });
  socket.on('error', () => {});
  socket.on('close', () => arrived.reject(new Error('closed')));
  return {
    socket,
    async read({ typed } = { typed: true }) {
      const start = typed ? 1 : 0;
      const length = () => (buffered.length < start + 4 ? Infinity : start + buffered.readInt32BE(start));
      while (buffered.length < length()) await arrived.promise;
      const bytes = buffered.subarray(0, length());
      buffered = buffered.subarray(bytes.length);
      return { type: typed ? String.fromCharCode(bytes[0]!) : '', bytes, body: bytes.toString('utf8', start + 4) };
    },
  };
}

const endsRequest = ({ type }: Message) => type === 'Q' || type === 'S';

async function answerOf({ read }: Stream): Promise<{ bytes: Buffer; inTransaction: boolean }> {
  const answers: Message[] = [];
  do answers.push(await read());
  while (answers.at(-1)!.type !== 'Z');
  return { bytes: Buffer.concat(answers.map(({ bytes }) => bytes)), inTransaction: answers.at(-1)!.body !== 'I' };
}

const sslRequest = 80_877_103;

async function greet({ socket, read }: Stream): Promise<void> {
  const first = await read({ typed: false });
  if (first.bytes.readInt32BE(4) === sslRequest) {
    socket.write('N');
    await read({ typed: false });
  }
  socket.write(Buffer.concat([message('R', Buffer.alloc(4)), message('Z', Buffer.from('I'))]));
}

const query = (sql: string) => message('Q', Buffer.from(`${sql}\0`));
const refusal = (text: string) => message('E', Buffer.from(`SFATAL\0VFATAL\0C08P01\0M${text}\0\0`));

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
