/**
 * What `work` gives; undefined when it takes longer than `ms`: then it goes on, and what it throws later is ignored.
 * What was answered while this process was busy is in time: Node calls late timers before it reads from sockets.
 * A plain timer: an aborted one of timers/promises costs an AbortError with its stack, at each request over HTTP.
 */
export async function within<T>(ms: number, work: Promise<T> | undefined): Promise<T | undefined> {
  work?.catch(() => {});
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => setImmediate(() => late.resolve(undefined)), ms);
  return Promise.race([work, late.promise]).finally(() => clearTimeout(timer));
}
