/** Milliseconds on a clock that all processes of this machine share (CLOCK_MONOTONIC on Linux). */
export const now = () => Number(process.hrtime.bigint()) / 1e6;

/** How long work takes, in ms. */
export async function wallMs(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
