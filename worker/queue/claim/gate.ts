/**
 * Where graphile-worker's slots wait before they claim a ticket. By default all slots claim when they start, and again
 * whenever they are free. But before each claim, they ask which flags are forbidden, and wait for the answer: that is
 * where we hold them.
 */
export function createGate() {
  const waiting: (() => void)[] = [];
  /** Claims that were admitted before a slot came for them. */
  let owed = 0;

  return {
    /** Resolves when the slot may claim. Null means that no flag is forbidden. */
    async pass(): Promise<null> {
      if (owed > 0) owed--;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      return null;
    },

    /** Lets this number of slots claim a ticket once. */
    admit(claims: number): void {
      for (let left = claims; left > 0; left--) {
        const next = waiting.pop();
        if (next) next();
        else owed++;
      }
    },

    /** Lets every slot through from now on. */
    open(): void {
      owed = Infinity;
      for (const next of waiting.splice(0)) next();
    },
  };
}
