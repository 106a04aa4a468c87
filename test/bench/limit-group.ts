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

/**
 * Moves this process into a new cgroup with `mb` megabytes and no swap.
 * @returns undefined where there is no cgroup v2 with memory that this user may write to
 * https://docs.kernel.org/admin-guide/cgroup-v2.html
 */
export function limitGroup(mb: number, root = '/sys/fs/cgroup'): LimitedGroup | undefined {
  const dir = join(root, `rowmill-${process.pid}`);
  const home = () => /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))![1]!;
  try {
    if (!readFileSync(join(root, 'cgroup.subtree_control'), 'utf8').split(/\s/).includes('memory')) return undefined;
    mkdirSync(dir);
  } catch {
    return undefined;
  }
  const before = join(root, home());
  const enter = (group: string) => writeFileSync(join(group, 'cgroup.procs'), String(process.pid));
  writeFileSync(join(dir, 'memory.max'), String(mb * 1e6));
  writeFileSync(join(dir, 'memory.swap.max'), '0');
  enter(dir);
  return {
    leave: () => enter(before),
    kills: () => Number(/^oom_kill (\d+)$/m.exec(readFileSync(join(dir, 'memory.events'), 'utf8'))?.[1]),
    remove: () => rmdirSync(dir),
  };
}
