/**
 * Where graphile-worker's slots wait until they may look for a ticket. Left to themselves all of them look when they start, and each again
 * whenever it is free; but before each look they ask which flags are forbidden, and wait for the answer.
 */
export type Gate = ReturnType<typeof createGate>;

export function createGate() {
  const waiting: (() => void)[] = [];
  /** Looks for which no slot has come yet. */
  let owed = 0;

  return {
    /** Resolves when the slot may look: null, for no flag is forbidden. */
    async pass(): Promise<null> {
      if (owed > 0) owed--;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      return null;
    },

    /** Lets so many slots look for a ticket once. */
    admit(looks: number): void {
      for (let left = looks; left > 0; left--) {
        const next = waiting.pop();
        if (next) next();
        else owed++;
      }
    },

    /** Lets everybody through from now on. */
    open(): void {
      owed = Infinity;
      for (const next of waiting.splice(0)) next();
    },
  };
}
