import { readFile } from 'node:fs/promises';

/** User and system time of a process so far, in ms of 10: clock ticks, fields 14 and 15 of proc(5). Linux only. */
export async function cpuMs(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
