import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { childOptions, type User } from './child.ts';

export type Launched = {
  /** The pid of the postmaster, not of the shell that watches it. */
  pid: number;
  ended(): boolean;
  /** Disconnects its clients, stops it, and waits. */
  stop(): Promise<void>;
};

/**
 * A shell that runs the server as long as the other end of its standard input is open. The kernel closes that end
 * however our process dies, kill -9 included. The shell prints the server's pid, and ends when the server does. If only
 * this shell is killed, the server is not orphaned: the watcher still sees the end of input.
 */
const keeper = `
exec 3<&0
"$@" </dev/null >&2 3<&- &
server=$!
echo $server
exec >&2
trap '' HUP INT TERM
{ while read -r line; do :; done <&3; kill -INT $server; } 2>/dev/null &
watcher=$!
exec 3<&-
wait $server
code=$?
kill -KILL $watcher 2>/dev/null
exit $code
`;

/**
 * Starts a server in a session of its own: a Ctrl-C in the terminal reaches our process, which may still need its
 * database to shut down, but not the server.
 * @param from `log` is a file descriptor; `stalePid` is the pid in a postmaster.pid whose server is gone
 */
export async function launch(
  postgres: string,
  data: string,
  from: {
    user: User | undefined;
    settings: Record<string, string | number>;
    log: number;
    stalePid: number | undefined;
  },
): Promise<Launched> {
  const flags = Object.entries(from.settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const options = childOptions(from.user);
  // A postmaster.pid outlives its machine or container, and its pid may belong to any process now. Postgres would take
  // that process for another server on the same data, unless it is told that this pid is none. It still checks the
  // shared memory of another server, so two never share the data.
  // https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/utils/init/miscinit.c (CreateLockFile)
  if (from.stalePid) options.env['PG_GRANDPARENT_PID'] = String(from.stalePid);
  const child = spawn('/bin/sh', ['-c', keeper, 'sh', postgres, '-D', data, ...flags], {
    ...options,
    detached: true,
    stdio: ['pipe', 'pipe', from.log],
  });
  const exit = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await once(child, 'spawn');
  const input = child.stdin as Socket;
  input.on('error', () => {});
  const pid = Number(await text(child.stdout as Readable));
  // Without this, a process that never calls stop() could not end.
  child.unref();
  return {
    pid,
    ended: () => child.exitCode !== null || child.signalCode !== null,
    stop() {
      child.ref();
      input.end();
      return exit;
    },
  };
}

export type ServerState = {
  pid: number;
  port: number;
  /** busy: starting or stopping. gone: it was killed, and its postmaster.pid is left. */
  state: 'ready' | 'busy' | 'gone';
};

/**
 * Reads postmaster.pid of the server on `data`, and checks whether it is true. Its lines are pid, path, start time,
 * port, socket, address, memory, status: https://www.postgresql.org/docs/current/storage-file-layout.html
 */
export async function serverOn(data: string): Promise<ServerState | undefined> {
  const lines = (await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
  const [pid, port] = [Number(lines[0]), Number(lines[3])];
  if (!pid) return undefined;
  // The pid alone proves nothing: another process may have it now, and a copied directory has a copied postmaster.pid.
  const lives = (await commandOf(pid)).includes(`/postgres -D ${data} `);
  return { pid, port, state: !lives ? 'gone' : lines[7]?.trim() === 'ready' ? 'ready' : 'busy' };
}

async function commandOf(pid: number): Promise<string> {
  if (existsSync('/proc/self/cmdline')) {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ');
  }
  return spawnSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8' }).stdout;
}
