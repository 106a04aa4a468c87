import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export type Message = { said: string } & Record<string, unknown>;

/** A program of this folder in a process of its own. The two say single words to each other, some with figures. */
export type Child = {
  pid: number;
  tell(word: string): void;
  /** The next message of that name, be it said already. @throws when the process ends without it */
  hears<Said extends object>(word: string): Promise<Said>;
  /** Asks it to end, and ends it by force when it takes longer than ten seconds. */
  end(): Promise<void>;
  kill(): Promise<void>;
};

export function launch(program: string, options: object): Child {
  // What a child prints goes to stderr: with --json, stdout is the result alone.
  const child = fork(join(import.meta.dirname, program), [JSON.stringify(options)], {
    stdio: ['ignore', 2, 2, 'ipc'],
    env: { ...process.env, NO_LOG_SUCCESS: '1' },
  });
  const heard: Message[] = [];
  let news = Promise.withResolvers<void>();
  const wake = () => {
    news.resolve();
    news = Promise.withResolvers<void>();
  };
  child.on('message', (message) => {
    heard.push(message as Message);
    wake();
  });
  const ended = once(child, 'exit').then(wake);
  const isOver = () => child.exitCode !== null || child.signalCode !== null;

  return {
    pid: child.pid!,
    tell: (said) => void child.send({ said }),
    async hears<Said extends object>(word: string) {
      for (;;) {
        const index = heard.findIndex(({ said }) => said === word);
        if (index >= 0) return heard.splice(index, 1)[0] as unknown as Said;
        if (isOver()) throw new Error(`${program} ended before it said ${word}`);
        await news.promise;
      }
    },
    async end() {
      if (!isOver()) child.send({ said: 'end' });
      await Promise.race([ended, sleep(10_000, undefined, { ref: false })]);
      if (!isOver()) child.kill('SIGKILL');
      await ended;
    },
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** In the child: what it was started with. */
export const options = (): unknown => JSON.parse(process.argv[2]!);

/** In the child. */
export function say(said: string, figures: Record<string, unknown> = {}): void {
  process.send!({ said, ...figures });
}

/** In the child: calls `listeners[word]` for each word it is told. A child whose parent is gone ends. */
export function listen(listeners: Record<string, () => void | Promise<void>>): void {
  process.on('message', (message) => void listeners[(message as Message).said]?.());
  process.on('disconnect', () => process.exit(0));
}
