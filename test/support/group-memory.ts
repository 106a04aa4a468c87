import { readdir, readFile } from 'node:fs/promises';

/**
 * Megabytes that a process and all its descendants hold. What they share is divided among them, if the kernel says how
 * much that is.
 */
export async function heldByGroup(root: number): Promise<number> {
  return heldByAll([root, ...(await descendants(root))]);
}

/** The same of the descendants alone. */
export async function heldByDescendants(root: number): Promise<number> {
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

async function heldByAll(pids: number[]): Promise<number> {
  const held = await Promise.all(pids.map(heldBy));
  return held.reduce((sum, kb) => sum + kb, 0) / 1_000;
}

async function heldBy(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  const shared = /^Pss:\s+(\d+) kB/m.exec(rollup)?.[1];
  if (shared) return Number(shared);
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
}
