import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { pino } from 'pino';
import { createStream, type RotatingFileStream } from 'rotating-file-stream';
import { messageOf } from './errors.ts';

const rotation = { size: '20M', rotate: 5, mode: 0o640 } as const;
/** A disk that is slower than the log must not take the memory of jobs. */
const mostWaitingBytes = 16_000_000;
const pauseMs = 60_000;

/** A file that is full, or cannot be written, holds nothing up: lines are left out, and standard output has them. */
class LogFile {
  readonly #dir: string;
  readonly #name: string;
  #stream: RotatingFileStream | undefined;
  #openAt = 0;

  constructor(dir: string, name: string) {
    this.#dir = dir;
    this.#name = name;
  }

  write(line: string): void {
    const stream = this.#open();
    if (stream && stream.writableLength < mostWaitingBytes) stream.write(line);
  }

  #open(): RotatingFileStream | undefined {
    if (this.#stream || Date.now() < this.#openAt) return this.#stream;
    try {
      mkdirSync(this.#dir, { recursive: true });
      this.#stream = createStream(this.#name, { path: this.#dir, ...rotation });
      this.#stream.on('error', (error) => this.#failed(error));
      this.#stream.on('warning', () => {});
    } catch (error) {
      this.#failed(error);
    }
    return this.#stream;
  }

  #failed(error: unknown): void {
    this.#stream = undefined;
    this.#openAt = Date.now() + pauseMs;
    process.stderr.write(`${join(this.#dir, this.#name)} cannot be written: ${messageOf(error)}\n`);
  }

  /** Resolves when all lines are written. */
  async end(): Promise<void> {
    const stream = this.#stream;
    if (stream) await new Promise<void>((resolve) => stream.end(() => resolve()).once('error', () => resolve()));
  }
}

const open = new Set<LogFile>();

/** error.log has lines of the levels error and fatal, combined.log all of them. */
export function openLogFiles(dir: string, level: pino.Level) {
  const files = { combined: new LogFile(dir, 'combined.log'), error: new LogFile(dir, 'error.log') };
  for (const file of Object.values(files)) open.add(file);
  return [
    { level, stream: files.combined },
    { level: 'error' as const, stream: files.error },
  ];
}

/** To be called before the process exits. */
export async function endLogFiles(): Promise<void> {
  await Promise.all([...open].map((file) => file.end()));
  open.clear();
}
