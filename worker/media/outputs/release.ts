import type { Log } from '../../base/log.ts';
import type { Storage } from '../../base/storage/storage.ts';
import type { Outputs, Stored } from './outputs.ts';

/** A file to store: its name in the folder of the outputs, and its path. */
export type Outgoing = { name: string; path: string };

/** Stores files that belong together: all of them, or none. */
export type Release = {
  /**
   * Stores the files of each stage, several at a time, after all earlier stages.
   * @returns what was stored, by name
   */
  putAll(): Promise<Map<string, Stored>>;
  /**
   * Deletes what was stored, as far as possible; but nothing if another attempt stored the same before or meanwhile.
   * Never throws.
   */
  takeBack(): Promise<void>;
};

type Options = { signal: AbortSignal; log: Log; onProgress: (share: number) => void };

const atATime = 6;
const perDelete = 500;
/** It may take this long after the job has ended. */
const takeBackMs = 20_000;

/** @param stages the last file of all stands for the whole: if it is there, everything is */
export async function createRelease(
  storage: Storage,
  outputs: Outputs,
  stages: Outgoing[][],
  { signal, log, onProgress }: Options,
): Promise<Release> {
  const files = stages.flat();
  const whole = `${outputs.folder}/${files.at(-1)!.name}`;
  const isOut = async (within: AbortSignal) => (await storage.head(whole, { signal: within })) !== undefined;
  const wasOut = await isOut(signal);
  const tried: string[] = [];
  const stored = new Map<string, Stored>();

  async function put({ name, path }: Outgoing): Promise<void> {
    // Also if it fails: the file may have arrived.
    tried.push(`${outputs.folder}/${name}`);
    stored.set(name, await outputs.put(name, { path }));
    onProgress(stored.size / files.length);
  }

  return {
    async putAll() {
      for (const stage of stages) await inLanes(stage, put);
      return stored;
    },

    async takeBack() {
      if (wasOut || tried.length === 0) return;
      const deadline = AbortSignal.timeout(takeBackMs);
      try {
        if (!tried.includes(whole) && (await isOut(deadline))) return;
        // The last first, so that files which name others go before them.
        const keys = tried.toReversed();
        for (let from = 0; from < keys.length; from += perDelete) {
          const failures = await storage.delete(keys.slice(from, from + perDelete), { signal: deadline });
          if (failures[0]) throw new Error(`${failures.length} could not be deleted: ${failures[0].error_code}`);
        }
      } catch (error) {
        log.warn({ err: error }, 'files of a job that did not complete are left in storage');
      }
    },
  };
}

/** Ends when all work has ended, even if some of it failed; after a failure, no more is started. */
async function inLanes<T>(all: T[], work: (one: T) => Promise<void>): Promise<void> {
  const todo = all.values();
  const failures: unknown[] = [];
  const lane = async () => {
    for (const one of todo) {
      if (failures.length > 0) return;
      await work(one);
    }
  };
  await Promise.all(Array.from({ length: atATime }, () => lane().catch((error: unknown) => failures.push(error))));
  if (failures.length > 0) throw failures[0];
}
