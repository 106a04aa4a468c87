import { readFileSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A cgroup with a limit of memory. What is started before `leave` belongs to it, with all that it starts. */
export type LimitedGroup = {
  leave(): void;
  /** How often the kernel killed one of its processes, since their memory reached the limit. */
  kills(): number;
  /** After all its processes have ended. */
  remove(): void;
};

type Version = {
  folder: string;
  /** Names the group of this process in /proc/self/cgroup. */
  home: RegExp;
  /** Each file of the group that has the limit. */
  limits: string[];
  /** The file that counts the processes that were killed. */
  events: string;
  /** The file that says how much may be swapped, if the limit does not cover it. */
  swap?: string;
  hasMemory(folder: string): boolean;
};

// https://docs.kernel.org/admin-guide/cgroup-v2.html and https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
const versions: Version[] = [
  {
    folder: '/sys/fs/cgroup',
    home: /^0::(.*)$/m,
    limits: ['memory.max'],
    events: 'memory.events',
    swap: 'memory.swap.max',
    hasMemory: (folder) => readFileSync(join(folder, 'cgroup.subtree_control'), 'utf8').split(/\s/).includes('memory'),
  },
  {
    folder: '/sys/fs/cgroup/memory',
    home: /^\d+:memory:(.*)$/m,
    limits: ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes'],
    events: 'memory.oom_control',
    hasMemory: () => true,
  },
];

/**
 * Moves this process into a new cgroup with `mb` megabytes and no swap.
 * @returns undefined where there is no cgroup with memory that this user may write to
 */
export function limitGroup(mb: number): LimitedGroup | undefined {
  for (const version of versions)
    try {
      if (version.hasMemory(version.folder)) return enter(version, mb);
    } catch {
      // The other version, or none.
    }
  return undefined;
}

function enter({ folder, home, limits, events, swap }: Version, mb: number): LimitedGroup {
  const before = join(folder, home.exec(readFileSync('/proc/self/cgroup', 'utf8'))![1]!);
  const dir = join(folder, `rowmill-${process.pid}`);
  const move = (group: string) => writeFileSync(join(group, 'cgroup.procs'), String(process.pid));
  mkdirSync(dir);
  for (const limit of limits) writeFileSync(join(dir, limit), String(mb * 1e6));
  if (swap) writeFileSync(join(dir, swap), '0');
  move(dir);
  return {
    leave: () => move(before),
    kills: () => Number(/^oom_kill (\d+)$/m.exec(readFileSync(join(dir, events), 'utf8'))?.[1]),
    remove: () => rmdirSync(dir),
  };
}
