import { fork, spawn, type ChildProcess } from 'node:child_process';
import { on, once } from 'node:events';
import { join } from 'node:path';

export type WorkerProcess = {
  child: ChildProcess;
  id: string;
  /** What its health would say, and its id now. */
  ask(): Promise<{ trouble: string | null; id: string }>;
  /** Sends a signal and waits for the end. Gives the exit code, or the signal that ended it. */
  end(signal: NodeJS.Signals): Promise<number | string>;
};

/** A worker in a process of its own: it works when this resolves, or has ended, as one that a job kills at once. */
export async function spawnWorker(databaseUrl: string, env: Record<string, string> = {}): Promise<WorkerProcess> {
  const child = fork(join(import.meta.dirname, 'worker-process.ts'), [], {
    stdio:
      process.env['TEST_LOG'] === 'on'
        ? ['ignore', 'inherit', 'inherit', 'ipc']
        : ['ignore', 'ignore', 'ignore', 'ipc'],
    env: {
      PATH: process.env['PATH'],
      DATABASE_URL: databaseUrl,
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
      LOG_LEVEL: process.env['TEST_LOG'] === 'on' ? 'debug' : 'silent',
      QUEUES: 'media',
      WORKER_POLL_INTERVAL: '200',
      ...env,
    },
  });
  endsWithUs(child);
  const hello = once(child, 'message') as Promise<[{ id: string }]>;
  const [said] = await Promise.race([hello, once(child, 'exit').then(() => [])]);
  return {
    child,
    id: said?.id ?? '',
    async ask() {
      child.send('trouble');
      const [answer] = (await once(child, 'message')) as [{ trouble: string | null; id: string }];
      return answer;
    },
    async end(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode ?? child.signalCode!;
      const ended = once(child, 'exit') as Promise<[number | null, string | null]>;
      child.kill(signal);
      const [code, by] = await ended;
      return code ?? by!;
    },
  };
}

/** `rowmill start` as a user starts it, working when this resolves. */
export async function spawnRowmill(databaseUrl: string, env: Record<string, string>): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../worker/cli/rowmill.js'), 'start'], {
    cwd: env['DATA_DIR'],
    env: {
      PATH: process.env['PATH'],
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
      DATABASE_URL: databaseUrl,
      PORT: '0',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  endsWithUs(child);
  // A worker that ends before it listens closes its output.
  for await (const chunk of on(child.stdout, 'data', { close: ['end'] }))
    if (String(chunk).includes('"listening"')) break;
  child.stdout.resume();
  return child;
}

/** A process that fails, or gives up, leaves no child behind. */
export function endsWithUs<Child extends ChildProcess>(child: Child): Child {
  const kill = () => void child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  return child;
}
