import { readdir, readFile } from 'node:fs/promises';

/** Megabytes. */
export type Held = {
  all: number;
  /**
   * Without pages of files, such as a picture that is mapped: where memory is limited, the kernel drops those before it
   * kills. https://docs.kernel.org/admin-guide/cgroup-v2.html#memory
   */
  pinned: number;
};

/**
 * What a process and all its descendants hold. What they share is divided among them, if the kernel says how much that
 * is.
 */
export async function heldByGroup(root: number): Promise<Held> {
  return heldByAll([root, ...(await descendants(root))]);
}

/** The same of the descendants alone. */
export async function heldByDescendants(root: number): Promise<Held> {
  return heldByAll(await descendants(root));
}

async function descendants(root: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')));
  const parents = new Map(stats.map((stat, n) => [Number(pids[n]), Number(/\) \S (\d+)/.exec(stat)?.[1])]));
  const isBelow = (pid: number): boolean => {
    const parent = parents.get(pid);
    return parent !== undefined && (parent === root || isBelow(parent));
  };
  return [...parents.keys()].filter(isBelow);
}

async function heldByAll(pids: number[]): Promise<Held> {
  const held = await Promise.all(pids.map(heldBy));
  const sum = (what: keyof Held) => held.reduce((all, one) => all + one[what], 0);
  return { all: sum('all'), pinned: sum('pinned') };
}

async function heldBy(pid: number): Promise<Held> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  const shared = { all: read(rollup, 'Pss'), pinned: read(rollup, 'Pss_Anon') + read(rollup, 'Pss_Shmem') };
  if (shared.all > 0 && shared.pinned > 0) return shared;
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return { all: read(status, 'VmRSS'), pinned: read(status, 'RssAnon') + read(status, 'RssShmem') };
}

const read = (text: string, name: string) =>
  Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) / 1_000;
