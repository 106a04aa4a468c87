import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** A process of this machine, as Linux shows it. */
export type ProcessInfo = { pid: number; name: string; state: string; group: number; cwd: string | undefined };

/** All that run here; those that have ended and wait to be taken leave of are left out. */
export async function processes(): Promise<ProcessInfo[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const all = await Promise.all(pids.map(look));
  return all.filter((found) => found !== undefined).filter(({ state }) => state !== 'Z');
}

async function look(pid: number): Promise<ProcessInfo | undefined> {
  try {
    const [, name, state, , group] = /^\d+ \((.*)\) (\S) (\d+) (\d+)/s.exec(
      await readFile(`/proc/${pid}/stat`, 'utf8'),
    )!;
    const cwd = await readlink(join('/proc', String(pid), 'cwd')).catch(() => undefined);
    return { pid, name: name!, state: state!, group: Number(group), cwd };
  } catch {
    return undefined;
  }
}
