import { resolve } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { UsageError } from '../base/errors.ts';

/** Options and arguments that several commands share. */

export const json = () => new Option('--json', 'print one JSON document');

const folder = (option: string, what: string, setting: string) =>
  new Option(`${option} <dir>`, `a folder of ${what} of your own (default: ${setting})`).argParser((dir) =>
    resolve(dir),
  );
export const jobsDir = () => folder('--jobs', 'kinds', 'JOBS_DIR');
export const migrationsDir = () => folder('--migrations', 'migrations', 'MIGRATIONS_DIR');

export function example(command: Command, line: string): Command {
  return command.addHelpText('after', `\nExample:\n  $ ${line}`);
}

/** For commander, which adds the name of the option to the message. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^-?\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  };
}

const id = integer(1, Number.MAX_SAFE_INTEGER);

/** For an argument that is a job's id. */
export function jobId(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('The id of a job is a whole number.');
  return id(text);
}

/** For an argument that may be given several times. */
export const jobIds = (text: string, before: number[] | undefined): number[] => [...(before ?? []), jobId(text)];

export type Kind = { queue: string; kind: string };

/** For an argument that names a kind. */
export function kindOf(name: string): Kind {
  const [, queue, kind] = /^([a-z0-9_]+)\.([a-z0-9_]+)$/.exec(name) ?? [];
  if (!queue || !kind) throw new InvalidArgumentError('It must be a queue and a kind, such as publish.file.');
  return { queue, kind };
}

/** A kind as lists show it, `media.image`, also names its queue. @throws UsageError if --queue is another one */
export function withQueue<Options extends { queue?: string; kind?: string }>(options: Options): Options {
  const [, queue, kind] = /^(.+?)\.(.+)$/.exec(options.kind ?? '') ?? [];
  if (!queue || !kind) return options;
  if (options.queue !== undefined && options.queue !== queue)
    throw new UsageError(`--kind ${options.kind} is no kind of queue ${options.queue}`);
  return { ...options, queue, kind };
}

/** For JSON. */
export function payloadOf(source: string): unknown {
  try {
    return JSON.parse(source);
  } catch (error) {
    throw new InvalidArgumentError(`It must be JSON: ${(error as Error).message}.`);
  }
}

const units: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A time, or after a plus how long from now. Without a time zone, it is this machine's local time. */
export function runAt(text: string): { run_at: Date } | { delay_ms: number } {
  const [, many, unit] = /^\+(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (many && unit) return { delay_ms: Number(many) * units[unit]! };
  const isDay = /^\d{4}-\d\d-\d\d$/.test(text);
  const isTime = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?$/.test(text);
  const run_at = new Date(isDay ? `${text}T00:00` : text);
  if ((isDay || isTime) && !Number.isNaN(run_at.getTime())) return { run_at };
  throw new InvalidArgumentError(
    "It must be a time such as 2026-05-01T09:00:00Z, or how long from now, such as '+5m' (s, m, h, d).",
  );
}
