import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';

export type Mail = { from: string; to: string[]; source: string; user: string | undefined };

/** How the server behaves at a stage: it answers with a refusal, hangs, or drops the connection. */
export type Fault = { code: number; text?: string } | 'hang' | 'drop' | 'endless';
type Stage = 'connect' | 'login' | 'from' | 'recipient' | 'data';

export type FakeSmtp = {
  host: string;
  port: number;
  url: string;
  /** What it took. */
  mails: Mail[];
  /** The next mails, so many of them, go wrong at this stage. */
  fail(stage: Stage, fault: Fault, times?: number): void;
  heal(): void;
  /** Resolves when it has read a whole mail that it does not answer. */
  hanging(): Promise<void>;
  close(): Promise<void>;
};

/** A real SMTP server on a loopback socket. */
export async function startSmtp(options: SMTPServerOptions = {}, at = 0): Promise<FakeSmtp> {
  const mails: Mail[] = [];
  const faults = new Map<Stage, { fault: Fault; times: number }>();
  const sockets = new Set<Socket>();
  let hangs = Promise.withResolvers<void>();

  const pass = (stage: Stage, socket: () => Socket | undefined, done: (error?: Error) => void, go: () => void) => {
    const failure = faults.get(stage);
    if (!failure || failure.times === 0) return go();
    failure.times -= 1;
    const { fault } = failure;
    if (fault === 'hang') return hangs.resolve();
    if (fault === 'drop') return void socket()?.destroy();
    if (fault === 'endless') return flood(socket()!);
    done(Object.assign(new Error(fault.text ?? 'no'), { responseCode: fault.code }));
  };
  const newest = () => [...sockets].at(-1);
  const server = new SMTPServer({
    disabledCommands: ['STARTTLS'],
    authOptional: true,
    allowInsecureAuth: true,
    disableReverseLookup: true,
    closeTimeout: 100,
    onConnect: (_, done) => pass('connect', newest, done, () => done()),
    onAuth: (auth, _, done) => pass('login', newest, done, () => done(null, { user: auth.username })),
    onMailFrom: (_, __, done) => pass('from', newest, done, () => done()),
    onRcptTo: (_, __, done) => pass('recipient', newest, done, () => done()),
    onData(stream, session, done) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () =>
        pass('data', newest, done, () => {
          const { mailFrom, rcptTo } = session.envelope;
          const from = mailFrom === false ? '' : mailFrom.address;
          const source = String(Buffer.concat(chunks));
          mails.push({ from, to: rcptTo.map((to) => to.address), source, user: session.user });
          done();
        }),
      );
    },
    ...options,
  });
  server.server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('error', () => {});
  server.listen(at, '127.0.0.1');
  await once(server.server, 'listening');
  const { port } = server.server.address() as AddressInfo;
  return {
    host: '127.0.0.1',
    port,
    url: `smtp://127.0.0.1:${port}`,
    mails,
    fail: (stage, fault, times = Infinity) => faults.set(stage, { fault, times }),
    heal() {
      faults.clear();
      hangs = Promise.withResolvers<void>();
    },
    hanging: () => hangs.promise,
    async close() {
      for (const socket of sockets) socket.destroy();
      const closed = Promise.withResolvers<void>();
      server.close(closed.resolve);
      await closed.promise;
    },
  };
}

/** One reply without an end. */
function flood(socket: Socket): void {
  const go = () => {
    while (!socket.destroyed && socket.write(`250-${'x'.repeat(1_000)}\r\n`));
    if (!socket.destroyed) socket.once('drain', go);
  };
  go();
}
