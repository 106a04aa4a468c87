import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import amqplib from 'amqplib';
import { eventually } from './eventually.ts';

const run = promisify(execFile);

/** A RabbitMQ of a run's own, beside one that others use. */
export type OwnBroker = {
  url: string;
  /** Stops it and starts it again: connections are closed, what is durable stays. */
  restart(): Promise<void>;
  close(): Promise<void>;
};

/**
 * Runs the broker as long as the other end of its standard input is open, which the kernel closes however our process
 * dies. `rabbitmq-server` does not pass signals on, so the broker itself gets the signal. The logs of a broker that
 * ended by itself stay.
 */
const keeper = `
dir=$1
exec 3<&0
rabbitmq-server </dev/null 3<&- &
server=$!
trap '' HUP INT TERM
{
  while read -r line; do :; done <&3
  while [ ! -s "$dir/pid" ] && kill -0 $server; do sleep 0.1; done
  kill "$(cat "$dir/pid")" || exit
  while kill -0 $server; do sleep 0.1; done
  rm -rf "$dir"
} &
exec 3<&-
wait $server
`;

/** A restart takes a few seconds. One that hangs is a fault of the run, and has to say so. */
const restartPatienceMs = 120_000;

/** Needs `rabbitmq-server` and `rabbitmqctl`. */
export async function startOwnBroker(): Promise<OwnBroker> {
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-broker-'));
  // As root the server runs as another user.
  await chmod(dir, 0o777);
  const [port, distribution] = await Promise.all([freePort(), freePort()]);
  const node = `rowmill_${randomUUID().slice(0, 8)}@localhost`;
  await writeFile(join(dir, 'rabbitmq.conf'), `listeners.tcp.1 = 127.0.0.1:${port}\n`);
  await writeFile(join(dir, 'enabled_plugins'), '[].\n');
  const env = {
    ...process.env,
    RABBITMQ_NODENAME: node,
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_CONFIG_FILE: join(dir, 'rabbitmq.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(dir, 'enabled_plugins'),
    RABBITMQ_MNESIA_BASE: dir,
    RABBITMQ_LOG_BASE: dir,
    RABBITMQ_PID_FILE: join(dir, 'pid'),
  };
  // In a session of its own, so that Ctrl-C reaches it by way of our end only.
  const options = { env, detached: true, stdio: ['pipe', 'ignore', 'ignore'] as ['pipe', 'ignore', 'ignore'] };
  const server = spawn('/bin/sh', ['-c', keeper, 'sh', dir], options);
  const ended = once(server, 'exit');
  const control = (command: string) =>
    run('rabbitmqctl', ['-n', node, command], { env, timeout: restartPatienceMs, killSignal: 'SIGKILL' });
  const url = `amqp://127.0.0.1:${port}`;
  await Promise.race([
    eventually(async () => (await amqplib.connect(url)).close(), 180_000),
    ended.then(() => Promise.reject(new Error(`rabbitmq-server ended: see ${dir}`))),
  ]);
  return {
    url,
    async restart() {
      await control('stop_app');
      await control('start_app');
    },
    async close() {
      server.stdin.end();
      await ended;
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
