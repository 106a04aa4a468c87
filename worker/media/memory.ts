/** Lets image jobs of the whole process run side by side as far as their memory and the cores allow. */
export type MemoryGate = {
  /** The whole budget. What needs more than this never fits. */
  readonly bytes: number;
  /** What one picture may take. */
  readonly pictureBytes: number;

  /**
   * Waits until `bytes` are free, and its turn has come, then does `work`; holds them until that is done, whatever came of it.
   * First come, first served, so that a large picture is not overtaken for ever by small ones.
   * @throws the signal's reason, when it is aborted while waiting; RangeError for more than the whole budget
   */
  run<T>(bytes: number, signal: AbortSignal, work: () => Promise<T>): Promise<T>;
};

/** @param slots how many may run at once, however small they are */
export function createMemoryGate({
  bytes,
  pictureBytes = bytes,
  slots,
}: {
  bytes: number;
  pictureBytes?: number;
  slots: number;
}): MemoryGate {
  const free = { bytes, slots };
  const line: { bytes: number; enter: () => void }[] = [];

  function admit() {
    for (let first = line[0]; first && free.slots > 0 && first.bytes <= free.bytes; first = line[0]) {
      line.shift();
      free.bytes -= first.bytes;
      free.slots -= 1;
      first.enter();
    }
  }

  function turn(need: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting = { bytes: need, enter };
      function enter() {
        signal.removeEventListener('abort', leave);
        resolve();
      }
      function leave() {
        line.splice(line.indexOf(waiting), 1);
        reject(signal.reason as Error);
        admit();
      }
      signal.addEventListener('abort', leave, { once: true });
      line.push(waiting);
      admit();
    });
  }

  return {
    bytes,
    pictureBytes,
    async run(need, signal, work) {
      if (need > bytes) throw new RangeError(`${need} bytes are more than the whole budget of ${bytes}`);
      signal.throwIfAborted();
      await turn(need, signal);
      try {
        return await work();
      } finally {
        free.bytes += need;
        free.slots += 1;
        admit();
      }
    },
  };
}
