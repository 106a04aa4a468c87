/** The calls of sharp that run side by side. */
const running = new Set<Promise<unknown>>();
/** Settles when no call runs alone, nor waits to. */
let alone: Promise<unknown> = Promise.resolve();

/**
 * Calls sharp; if that fails, once more while no other call runs. libvips has one list of error texts for the process:
 * of two calls that fail at the same time, one may throw the texts of both, the other "Unknown error".
 * @throws what the second call threw; at once what is not libvips's: our own errors, an abort, a timeout
 */
export async function withOwnError<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await besideOthers(call);
  } catch (error) {
    if (!isOfLibvips(error)) throw error;
    return whileOthersWait(call);
  }
}

async function besideOthers<T>(call: () => Promise<T>): Promise<T> {
  for (let seen; seen !== alone; await seen) seen = alone;
  const made = call();
  running.add(made);
  return made.finally(() => running.delete(made));
}

function whileOthersWait<T>(call: () => Promise<T>): Promise<T> {
  const made = alone.then(() => Promise.allSettled(running)).then(call);
  alone = made.catch(() => {});
  return made;
}

/** sharp throws plain errors. */
const isOfLibvips = (error: unknown) =>
  error instanceof Error && error.constructor === Error && !/^timeout: /m.test(error.message);
