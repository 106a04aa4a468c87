import { stripVTControlCharacters } from 'node:util';
import type { Status } from '../../queue/client/operate.ts';
import { print, statusStyle, table, type Column } from '../output.ts';

/** A job of the demo, and what it is. */
export type Shown = {
  id: number;
  name: string;
  about: string;
  /** Whether it has to fail. */
  broken: boolean;
  status: Status;
  started_at?: Date | null;
  completed_at?: Date | null;
  error_code?: string | null;
  error?: string | null;
};

export type View = { show(jobs: Shown[]): void };

/**
 * Shows how jobs change: on a terminal a table that is redrawn in place, otherwise a line for each change.
 * @param title of the column with their names
 */
export function createView(quiet: boolean, title: string): View {
  if (quiet) return { show: () => {} };
  const lines = changes();
  if (!process.stdout.isTTY) return lines;
  const columns = columnsOf(title);
  const draw = (jobs: Shown[]) => ['', ...table(jobs, columns), ''];
  const live = redrawn(draw);
  let fits: boolean | undefined;
  return {
    show(jobs) {
      // Decided once: a table that scrolls, or whose lines wrap, cannot be redrawn in place.
      fits ??= doesFit(draw(jobs));
      (fits ? live : lines).show(jobs);
    },
  };
}

const columnsOf = (title: string): Column<Shown>[] => [
  { title: 'JOB', value: ({ id }) => id, align: 'right' },
  { title, value: ({ name }) => name },
  { title: 'STATUS', width: 10, value: ({ status }) => status, style: ({ status }) => statusStyle(status) },
  { title: 'TOOK', width: 6, value: took, align: 'right' },
  { title: 'WHAT IT IS', value: ({ about }) => about, style: () => 'dim' },
];

function doesFit(lines: string[]): boolean {
  const { columns: width, rows: height } = process.stdout;
  return lines.length < height && lines.every((line) => stripVTControlCharacters(line).length < width);
}

function redrawn(draw: (jobs: Shown[]) => string[]): View {
  let drawn: string[] = [];
  return {
    show(jobs) {
      const lines = draw(jobs);
      if (lines.join('\n') === drawn.join('\n')) return;
      const up = drawn.length > 0 ? `\x1b[${drawn.length}A` : '';
      process.stdout.write(up + lines.map((line) => `${line}\x1b[K\n`).join(''));
      drawn = lines;
    },
  };
}

function changes(): View {
  const last = new Map<number, string>();
  return {
    show(jobs) {
      for (const job of jobs) {
        const { status, error_code } = job;
        const now = error_code && status !== 'completed' ? `${status} (${error_code})` : status;
        const before = last.get(job.id);
        if (before === now) continue;
        last.set(job.id, now);
        const line = `job ${job.id}  ${job.name}`;
        // A quick job starts and ends between two polls: its row says that it started.
        if (before?.startsWith('pending') && job.completed_at && job.started_at) print(`${line}  processing`);
        print(`${line}  ${now}  ${took(job)}`.trimEnd());
      }
    },
  };
}

function took({ started_at, completed_at }: Shown): string {
  return started_at && completed_at ? `${((completed_at.getTime() - started_at.getTime()) / 1_000).toFixed(2)} s` : '';
}
