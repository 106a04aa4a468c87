import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/**
 * Where in the code an error arose, and what caused it: only the `at` lines, with paths relative to the project. The
 * message of the error is left out, because it may quote anything. Undefined for a thrown value without a stack, such
 * as a string.
 */
export function stackOf(error: unknown): string | undefined {
  const frames: string[] = [];
  for (let cause = error, depth = 0; cause instanceof Error && depth < maxCauses; cause = cause.cause, depth++) {
    const own = framesOf(cause);
    if (own.length === 0) continue;
    if (depth > 0) frames.push(`caused by ${nameOf(cause)}`);
    frames.push(...own);
  }
  return frames.length === 0 ? undefined : frames.join('\n').slice(0, maxLength);
}

/** The first line of a stack in code of this project, or of its user; otherwise the very first. */
export function topOf(stack: string | undefined): string | undefined {
  const frames = stack?.split('\n') ?? [];
  return (frames.find((frame) => !/node:|node_modules/.test(frame)) ?? frames[0])?.slice(0, 200);
}

const maxCauses = 5;
const maxLength = 8_000;
const root = join(fileURLToPath(import.meta.url), '../../..');
const places = [...new Set([root, process.cwd()])].flatMap((dir) => [`${pathToFileURL(dir).href}/`, `${dir}/`]);

// A frame ends with a place, (file:line:column), or a word such as <anonymous> or native.
const frame = /^\s+at (?:.{1,300}:\d+:\d+\)?|.{1,200}\((?:<anonymous>|native|index \d+)\))$/;

function framesOf({ stack }: Error): string[] {
  if (typeof stack !== 'string') return [];
  const lines = stack.slice(-100_000).split('\n');
  return lines.filter((line) => frame.test(line)).map((line) => places.reduce(relative, line.trim()));
}

const relative = (line: string, place: string) => line.replaceAll(place, '');

/** The name of the error's class, if it looks like one. */
const nameOf = ({ name }: Error) => (/^\w{1,60}$/.test(name) ? name : 'Error');
