import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * The environment and the streams of a command. They are the process's own, except in tests, which run commands side by
 * side in one process: there each has its own.
 */
export type Surroundings = { env: NodeJS.ProcessEnv; stdout: Output; stderr: Output };
type Output = NodeJS.WritableStream & { isTTY?: boolean; columns?: number };

const own = new AsyncLocalStorage<Surroundings>();

export const surroundings = (): Surroundings => own.getStore() ?? process;

export const surroundedBy = <Result>(given: Surroundings, work: () => Result): Result => own.run(given, work);
